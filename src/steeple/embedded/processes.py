"""Starting and stopping child processes that never outlive us.

Every child gets its own session, so that Ctrl-C in the terminal reaches only the supervisor, and a death signal, so
that the kernel takes it along when the supervisor is killed. Start children from the main thread: the kernel binds the
death signal to the thread that forked.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import IO

from steeple.embedded.privileges import Identity, ourselves
from steeple.errors import SteepleError

_SCRIPT = Path(__file__).with_name("launch.py")
_POLL = 0.01

# Servers get a small environment of their own: a PGPORT or LC_ALL of the user's must not bend them.
SERVER_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


class ServerFailed(SteepleError):
    """An embedded server did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Step:
    """One step of stopping a process: a signal, and how many seconds it gets to take effect."""

    signal: signal.Signals
    patience: float


def launch(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: int | IO[bytes],
    death_signal: signal.Signals,
    identity: Identity | None = None,
    umask: str = "",
) -> "subprocess.Popen[bytes]":
    """Start the command as a direct child in a session of its own; stdout and stderr go to ``output``."""
    options = (identity or ourselves()).launch_options
    options += ("--death-signal", death_signal.name, "--parent", str(os.getpid()))
    options += ("--umask", umask) if umask else ()
    return subprocess.Popen(  # noqa: S603 - the callers name the commands
        launcher(*options, command=command),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def launcher(*options: str, command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` through ``launch.py``."""
    return [sys.executable, "-I", "-S", str(_SCRIPT), *options, "--", *command]


def require_ended(process: "subprocess.Popen[bytes]", name: str) -> None:
    """Raise ServerFailed if the process still runs: it is not to be started twice."""
    if process.poll() is None:
        raise ServerFailed(f"{name} runs already, as process {process.pid}")


def stop(process: "subprocess.Popen[bytes]", steps: Iterable[Step]) -> None:
    """Send one signal after the other until the process has ended; SIGKILL at the last."""
    for step in steps:
        process.send_signal(step.signal)
        try:
            process.wait(step.patience)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def stop_orphan(pid: int, steps: Iterable[Step]) -> None:
    """The same for a process that is not our child, left over by a supervisor that was killed."""
    for step in (*steps, Step(signal.SIGKILL, 10.0)):
        if not is_alive(pid):
            return
        os.kill(pid, step.signal)
        wait_until(lambda: not is_alive(pid), step.patience)


def wait_until(condition: Callable[[], bool], patience: float) -> bool:
    """Wait for a condition, for ``patience`` seconds at most. True when it came about."""
    deadline = monotonic() + patience
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(_POLL)
    return True


def is_alive(pid: int) -> bool:
    """Whether a process of this id exists and is more than a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return bool(command_line(pid))


def command_line(pid: int) -> str:
    """The process's arguments, joined by blanks; empty if there is no such process or it is a zombie."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            return ""
    arguments = ["/bin/ps", "-ww", "-p", str(pid), "-o", "args="]
    shown = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603
    return "" if "<defunct>" in shown.stdout else shown.stdout.strip()


def last_lines(path: Path, count: int = 8) -> str:
    """The end of a log file, for error messages."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-count:]) if path.exists() else ""


def kill_group(group: int) -> None:
    """SIGKILL for every process of a group that ``launch`` made; nothing if none is left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:  # macOS says so of a group of zombies
        return

"""The parts that ``steeple up`` runs as child processes, and one such process with its output."""

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from steeple.embedded.console import Console
from steeple.embedded.processes import kill_group, launch

DEMO_APP = "steeple.demo.tasks:app"


@dataclass(frozen=True)
class Part:
    """A command to keep running. Parts that accept work ``stops_first``, before those that do it."""

    name: str
    command: tuple[str, ...]
    stops_first: bool = False


def _steeple(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "steeple", *arguments)


UPGRADE = Part("database", _steeple("db", "upgrade"))


def standard_parts(app: str | None, slots: int | None) -> tuple[Part, ...]:
    """The parts of a whole installation; without an app they run the demo tasks."""
    app = app or DEMO_APP
    return (
        Part("api", _steeple("api", app), stops_first=True),
        Part("scheduler", _steeple("scheduler", app)),
        Part("worker", _steeple("worker", app, *(["--slots", str(slots)] if slots else []))),
    )


class PartProcess:
    """A part's process. What it prints is passed on line by line."""

    def __init__(self, part: Part, environment: Mapping[str, str], console: Console) -> None:
        self.part = part
        self.name = part.name
        self.last_line = ""
        self._environment = environment
        self._console = console
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start it. The kernel kills it when we are killed: its jobs are rescued by the next start."""
        self._process = launch(
            self.part.command, environment=self._environment, output=subprocess.PIPE, death_signal=signal.SIGKILL
        )
        self._reader = threading.Thread(target=self._pass_on, args=[self._process], name=f"{self.name} output")
        self._reader.daemon = True
        self._reader.start()

    def exit_status(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll() if self._process is not None else 0

    def terminate(self) -> None:
        """Ask it to end what it is doing and leave."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it and whatever it left in its process group, and read its output to the end."""
        if self._process is None or self._reader is None:
            return
        kill_group(self._process.pid)
        self._process.wait()
        self._reader.join(5.0)
        self._process = None  # its group's number may soon be somebody else's

    def _pass_on(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                self.last_line = text or self.last_line
                self._console.line(self.name, text)

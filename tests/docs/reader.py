"""A reader who follows the pages: types what they type, into an installation with the app that they show."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from documents import Block

from steeple.embedded.processes import launch, wait_until

_PATIENCE_SECONDS = 60.0
_ADDRESS = re.compile(r"(localhost|127\.0\.0\.1):8080")
_OUTPUT_ENDS = "--- the end of a block ---"


@dataclass(frozen=True)
class Reader:
    """``address`` is where the api is, which in the pages is on port 8080."""

    folder: Path
    address: str
    environment: dict[str, str]

    def type(self, command: str) -> str:
        """What a command in a shell says."""
        real = _ADDRESS.sub(self.address, command)
        done = self._run(["bash", "-c", real])
        return done.stdout.replace(self.address, "127.0.0.1:8080")

    def run_program(self, blocks: Sequence[Block]) -> list[str]:
        """What each of the blocks says, run as one program."""
        separator = f"\nprint({_OUTPUT_ENDS!r}, flush=True)\n"
        program = self.folder / f"{blocks[0].place.replace('/', '_').replace(':', '_')}.py"
        program.write_text(_ADDRESS.sub(self.address, separator.join(block.text for block in blocks)))
        done = self._run([sys.executable, str(program)])
        assert done.returncode == 0, f"{blocks[0].place}: {done.stdout}"
        return done.stdout.split(f"{_OUTPUT_ENDS}\n")

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )


@contextmanager
def reading(folder: Path, app: str, database_url: str, broker_url: str) -> Iterator[Reader]:
    """A reader in ``folder`` who has started everything, as `steeple up` does, with an app that is there."""
    address = f"127.0.0.1:{_free_port()}"
    own = {
        "STEEPLE_DATABASE_URL": database_url,
        "STEEPLE_BROKER_URL": broker_url,
        "STEEPLE_PORT": address.partition(":")[2],
        "STEEPLE_URL": f"http://{address}",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(folder),
        "NO_PROXY": "*",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STEEPLE_")}
    every = (["api", app], ["scheduler"], ["worker", app, "--slots", "2"])
    parts = [_start(words, folder, inherited | own) for words in every]
    try:
        assert wait_until(lambda: _is_ready(address), _PATIENCE_SECONDS), _said(folder)
        yield Reader(folder, address, inherited | own)
    finally:
        for part in parts:
            part.terminate()
        for part in parts:
            part.wait(_PATIENCE_SECONDS)


def _start(words: list[str], folder: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    with (folder / f"{words[0]}.log").open("wb") as log:
        command = [sys.executable, "-m", "steeple", *words]
        return launch(command, environment=environment, output=log, death_signal=signal.SIGKILL)


def _said(folder: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in folder.glob("*.log"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _is_ready(address: str) -> bool:
    try:
        return bool(httpx2.get(f"http://{address}/v1/workers", trust_env=False).json()["workers"])
    except httpx2.TransportError:
        return False

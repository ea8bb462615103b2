"""A part of Steeple under test: a process of its own, as operators start it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from steeple.embedded.processes import launch

_PATIENCE = 60.0


class Part:
    """Runs ``steeple`` with these words. What it says is in ``log``. It dies with the tests; start it in their main
    thread."""

    def __init__(self, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Of the tests' own environment, what is Steeple's does not count."""
        self.words = tuple(words)
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STEEPLE_")}
        with log.open("ab") as output:
            self.process: subprocess.Popen[bytes] = launch(
                [sys.executable, "-m", "steeple", *words],
                environment=inherited | dict(environment),
                output=output,
                death_signal=signal.SIGKILL,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def children(self) -> list[int]:
        """The ids of its own child processes: of a worker, the slots."""
        return [child.pid for child in psutil.Process(self.pid).children()] if self.is_running else []

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it in order; its exit status."""
        self.send(signal.SIGTERM)
        return self.process.wait(_PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(_PATIENCE)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])

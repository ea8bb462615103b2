"""``steeple`` as a process of its own, as users start it, and in this process, which takes a tenth of the time."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from typer.testing import CliRunner

from steeple.cli.root import app


class Steeple(Protocol):
    """Runs a command with these variables in its environment; stdout is no terminal."""

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]": ...


@dataclass(frozen=True)
class SteepleProcess:
    directory: Path

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "steeple", *arguments],
            input=stdin,
            env={**os.environ, **environment},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


class SteepleHere:
    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        done = CliRunner().invoke(app, arguments, input=stdin, env=environment)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

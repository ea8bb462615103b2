"""A virtual environment for each peer, made by uv from the dependency groups ``bench-…`` of pyproject.toml.

Each has its own, so that each runs with the newest versions that it allows, whatever the others want.
"""

import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FOLDER = Path(sys.prefix) / "peers"
_NOTE = "bench-set-up"


class NotToBeHad(Exception):
    """The reason why a peer cannot be installed."""


@cache
def python_of(environment: str, oldest: tuple[int, int]) -> Path:
    """The interpreter that has the peer; made if it is not there. Raises ``NotToBeHad``."""
    if not environment:
        return Path(sys.executable)
    folder = _FOLDER / environment
    python = folder / "bin/python"
    wanted = f"{_interpreter(oldest)} {_requirements(environment)}"
    note = folder / _NOTE
    if not (note.exists() and note.read_text() == wanted):
        print(f"setting up {environment}", file=sys.stderr, flush=True)
        _uv("venv", "--clear", "--python", _interpreter(oldest), str(folder))
        _uv("pip", "install", "--python", str(python), "--group", f"bench-{environment}")
        note.write_text(wanted)
    return python


def _requirements(environment: str) -> list[str]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    found: list[str] = groups[f"bench-{environment}"]
    return found


@cache
def _interpreter(oldest: tuple[int, int]) -> str:
    """Our own Python where it is new enough; else one that is found on this machine, or by uv."""
    if sys.version_info >= oldest:
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob("versions/*/bin/python3.[0-9]*[0-9]"), key=lambda path: int(path.suffix[1:]))
    fitting = [path for path in found if (3, int(path.suffix[1:])) >= oldest]
    return str(fitting[0]) if fitting else f">={oldest[0]}.{oldest[1]}"


def _uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", *arguments]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        lines = [line for line in made.stderr.splitlines() if line.strip()]
        raise NotToBeHad(" ".join(lines[-3:]) or f"uv ended with {made.returncode}")

"""The command line in two ways: in this process, and as users start it."""

import os
import sys
from pathlib import Path

import pytest

# The API that is tested against lives with the client's tests; no test module imports across folders but by this line.
sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

from apis import api_url, memory, stage
from steeple_command import Steeple, SteepleHere, SteepleProcess

__all__ = ["api_url", "memory", "stage"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's own reaches a test."""
    for name in list(os.environ):
        if name.startswith("STEEPLE_") or name in {"DATABASE_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)


@pytest.fixture
def steeple(tmp_path: Path) -> Steeple:
    """Runs ``steeple`` as users do, in an empty directory."""
    return SteepleProcess(tmp_path)


@pytest.fixture
def steeple_here() -> Steeple:
    """Runs ``steeple`` in this process."""
    return SteepleHere()

"""The command line in two ways: in this process, and as users start it."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The double of the API lives with the client's tests; no test module imports across folders but by this line.
sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

from contract_api import Memory, Stage, serving
from steeple_command import Steeple, SteepleHere, SteepleProcess


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with serving() as found:
        yield found


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def api_url(stage: Stage, memory: Memory) -> str:
    """POINT THIS TO THE REAL API, as in the client's tests."""
    return stage.show(memory)


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

"""Installations of a test's own, each in a directory of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_up import Installation

APP = "acceptance_tasks:app"
QUICK_RESCUE = {"STEEPLE_HEARTBEAT_INTERVAL": "0.5", "STEEPLE_WORKER_DEAD_AFTER": "2"}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    started: list[Installation] = []

    def start(*arguments: str, **environment: str) -> Installation:
        started.append(Installation(tmp_path, *(arguments or (APP, "--slots", "2")), **(QUICK_RESCUE | environment)))
        return started[-1]

    yield start
    for installation in started:
        installation.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for tests that do it no harm."""
    installation = Installation(tmp_path_factory.mktemp("shared"), APP, "--slots", "2", **QUICK_RESCUE)
    yield installation
    installation.stop()

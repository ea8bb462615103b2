"""Workers and apps on the test's own database and broker."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import worker_tasks
from watching import Watcher, WorkerProcess
from workbench import Bench

from steeple import Settings, Steeple


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url=broker_url)


@pytest.fixture
def app(settings: Settings) -> Iterator[Steeple]:
    """The tests' own view of the tasks: it submits to the test's database."""
    found = Steeple(settings)
    found._tasks.update(worker_tasks.app._tasks)
    yield found
    found.close()


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(*options: str, **environment: str) -> WorkerProcess:
        worker = WorkerProcess(settings, tmp_path / f"worker-{len(started)}.log", *options, **environment)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()


@pytest.fixture
def watch(app: Steeple, settings: Settings) -> Watcher:
    return Watcher(app, settings)


@pytest.fixture
def bench(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Its process group is that of all tests: what a stopped task would have left is not ended here."""
    monkeypatch.setattr("steeple.worker.drain.end_leftovers", lambda began: 0)
    found = Bench(settings.model_copy(update={"drain_slice": 60.0}))
    yield found
    found.gate.set()
    if found._slot is not None:
        found.board.drain()
    found.app.close()
    found.engine.dispose()

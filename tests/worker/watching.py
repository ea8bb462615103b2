"""A worker under test, a process of its own as operators start it, and someone who submits to it and looks on."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from servers import libpq_url
from steeple import Handle, Settings, State, Steeple
from steeple.broker.celery_app import make_celery
from steeple.broker.wake import Publisher
from steeple.domain.priority import Lane, Priority
from steeple.domain.waking import Wakes
from steeple.embedded.processes import wait_until
from steeple.store.reads import JobView

PATIENCE = 30.0


class WorkerProcess:
    def __init__(self, settings: Settings, log: Path, *options: str, **environment: str) -> None:
        assert settings.database_url is not None
        assert settings.broker_url is not None
        addresses = {
            "STEEPLE_DATABASE_URL": settings.database_url.get_secret_value(),
            "STEEPLE_BROKER_URL": settings.broker_url.get_secret_value(),
        }
        self._database_url = libpq_url(addresses["STEEPLE_DATABASE_URL"])
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "steeple", "worker", "worker_tasks:app", *options],
                env=os.environ | addresses | environment,
                cwd=Path(__file__).parent,
                stdout=output,
                stderr=output,
            )
        assert wait_until(self.is_up, PATIENCE), self.said

    @property
    def said(self) -> str:
        return self._log.read_text()

    def is_up(self) -> bool:
        """Its row is there, and its slots wait for wake-ups."""
        found = self.query("SELECT count(*) FROM workers WHERE name LIKE %s", f"%:{self.process.pid}")
        return found == [(1,)] and len(self.slots()) > 0

    def slots(self) -> list[int]:
        """The ids of the pool's processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def query(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Watcher:
    """Submits and looks on. In these tests it is the scheduler, too: it wakes the lane until a job has moved."""

    def __init__(self, app: Steeple, settings: Settings) -> None:
        self._app = app
        self._publisher = Publisher(make_celery(settings))

    def submit(self, task: str, args: dict[str, object] | None = None, **options: Any) -> Handle:
        return self._app.submit(task, args, **options)

    def read(self, handle: Handle) -> JobView:
        return self._app._backend.read(handle.id)

    def wake(self, lane: Lane = Lane(None, Priority.HIGH)) -> None:  # noqa: B008 - a constant
        self._publisher.publish({lane: Wakes(1, 2)})

    def until(self, handle: Handle, *states: State, patience: float = PATIENCE) -> JobView:
        def has_moved() -> bool:
            if self.read(handle).state is State.PENDING:
                self.wake()
            return self.read(handle).state in states

        assert wait_until(has_moved, patience), self.read(handle)
        return self.read(handle)

    def ended(self, handle: Handle, patience: float = PATIENCE) -> JobView:
        return self.until(handle, State.SUCCESS, State.FAILED, State.CANCELLED, patience=patience)

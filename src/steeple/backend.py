"""What an app submits to: the database, the wake-ups after a commit, and the tasks that workers have registered."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from time import monotonic
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from steeple.broker.wake import Waker
from steeple.catalogue import RegisteredTask
from steeple.domain.job import NewJob
from steeple.domain.priority import Lane
from steeple.domain.waking import Crew
from steeple.errors import JobNotFound
from steeple.settings import Settings
from steeple.store import transitions
from steeple.store.engine import create_engine, in_transaction
from steeple.store.inbox import Accepted, insert_jobs
from steeple.store.reads import JobView, read_job
from steeple.store.tasks import all_tasks
from steeple.store.workers import live_workers

T = TypeVar("T")

Caller = Connection | Session | scoped_session[Any]
"""Who may have a job join its transaction."""

_LOOK_AGAIN_SECONDS = 1.0
"""How old the known workers and tasks may be."""


class Backend:
    """Connections of one app, opened when they are first needed."""

    def __init__(self, settings: Settings | None) -> None:
        self._given = settings
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._engine: Engine | None = None
        self._waker: Waker | None = None
        self._fleet = _Remembered(self._read_fleet)
        self._registered = _Remembered(self._read_registered)

    @cached_property
    def settings(self) -> Settings:
        return self._given or Settings()

    def store(self, jobs: Sequence[NewJob], caller: Caller | None) -> list[UUID]:
        """Store the jobs, all or none; gives back the id of each, an earlier one's where a request is repeated."""
        if caller is None:
            ids = in_transaction(self._open(), lambda connection: _insert(connection, jobs))
            self._wake(jobs)
            return ids
        owner = caller() if isinstance(caller, scoped_session) else caller
        connection = _connection_of(owner)
        with connection.begin_nested():
            ids = _insert(connection, jobs)
        if isinstance(owner, Session):
            self._wake_after_commit(owner, jobs)
        return ids

    def read(self, job_id: UUID) -> JobView:
        job = in_transaction(self._open(), lambda connection: read_job(connection, job_id))
        if job is None:
            raise JobNotFound(str(job_id))
        return job

    def cancel(self, job_id: UUID) -> None:
        in_transaction(self._open(), lambda connection: transitions.cancel(connection, job_id))

    def registered(self, name: str) -> RegisteredTask | None:
        """A task that some worker registered, be it this very moment."""
        return self._registered.get().get(name) or self._registered.read().get(name)

    def close(self) -> None:
        """The waker first: what it still sends, it asks the database where to."""
        with self._lock:
            waker, self._waker = self._waker, None
        if waker is not None:
            waker.close()
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _open(self) -> Engine:
        with self._lock:
            self._leave_the_parents()
            if self._engine is None:
                self._engine = create_engine(self.settings)
            return self._engine

    def _leave_the_parents(self) -> None:
        """After a fork: what was open is the parent's, and closing it here would close it there."""
        if self._process != os.getpid():
            self._process, self._waker = os.getpid(), None
            if self._engine is not None:
                self._engine.dispose(close=False)

    def _wake_after_commit(self, session: Session, jobs: Sequence[NewJob]) -> None:
        if self not in session.info:
            session.info[self] = []
            event.listen(session, "after_commit", self._on_commit)
            event.listen(session, "after_transaction_end", self._on_transaction_end)
        session.info[self].extend(jobs)

    def _on_commit(self, session: Session) -> None:
        if not session.in_nested_transaction():  # the end of a savepoint is told as a commit too
            self._wake(session.info[self])

    def _on_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            session.info[self].clear()

    def _wake(self, jobs: Sequence[NewJob]) -> None:
        """Wake the lanes of jobs that are due at once; later ones are the scheduler's. No broker set: all are."""
        due: dict[Lane, int] = {}
        for job in jobs:
            if job.run_at is None and not job.delay:
                lane = Lane(job.queue, job.priority)
                due[lane] = due.get(lane, 0) + 1
        if due and self.settings.broker_url is not None:
            with self._lock:
                self._leave_the_parents()
                if self._waker is None:
                    self._waker = Waker(self.settings, self._fleet.get)
                waker = self._waker
            waker.wake(due)

    def _read_fleet(self) -> tuple[Crew, ...]:
        alive = self.settings.worker_dead_after
        workers = in_transaction(self._open(), lambda connection: live_workers(connection, alive))
        return tuple(Crew(worker.binding, worker.slots) for worker in workers if not worker.draining)

    def _read_registered(self) -> Mapping[str, RegisteredTask]:
        records = in_transaction(self._open(), all_tasks)
        return {record.name: RegisteredTask(record) for record in records}


def _connection_of(caller: Connection | Session) -> Connection:
    match caller:
        case Connection():
            return caller
        case Session():
            return caller.connection()
    raise TypeError(f"connection is a Connection or Session of SQLAlchemy's, not {caller!r}; asyncio: submit_async")


def _insert(connection: Connection, jobs: Sequence[NewJob]) -> list[UUID]:
    """Raises the first refusal, so that the transaction is rolled back."""
    answers = insert_jobs(connection, jobs)
    for answer in answers:
        if not isinstance(answer, Accepted):
            raise answer
    return [answer.id for answer in answers if isinstance(answer, Accepted)]


class _Remembered(Generic[T]):
    """A value that is read again when it is older than a second. Threads may share it."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._found: tuple[T, float] | None = None

    def get(self) -> T:
        found = self._found
        return self.read() if found is None or monotonic() >= found[1] else found[0]

    def read(self) -> T:
        found = self._read()
        self._found = (found, monotonic() + _LOOK_AGAIN_SECONDS)
        return found

"""What an app submits to: the database, the wake-ups after a commit, and the tasks that workers have registered."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic
from typing import Any, Generic, Self, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from steeple.broker.wake import Waker
from steeple.catalogue import RegisteredTask
from steeple.domain.job import NewJob
from steeple.domain.priority import Lane, Priority
from steeple.domain.waking import Crew
from steeple.errors import JobNotFound
from steeple.settings import Settings
from steeple.store import flows, transitions
from steeple.store.children import confirm, insert_some
from steeple.store.engine import create_engine, in_transaction, is_unavailable
from steeple.store.flows import FlowView
from steeple.store.inbox_alike import AlikeJobs, insert_alike
from steeple.store.inbox_answers import Accepted, Answer
from steeple.store.inbox_conflicts import Apart
from steeple.store.queue_settings import default_priorities
from steeple.store.reads import JobView, read_job
from steeple.store.tasks import all_tasks
from steeple.store.workers import live_workers
from steeple.telemetry import events

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
        self._queue_priorities = _Remembered(self._read_queue_priorities)

    @cached_property
    def settings(self) -> Settings:
        return self._given or Settings()

    def store(self, jobs: Sequence[NewJob], caller: Caller | None) -> list[Accepted]:
        """Store the jobs, all or none; gives back what each came to, an earlier job where a request is repeated."""
        return self._store(lambda connection, apart: _insert(connection, jobs, apart), _Afterwards.of(jobs), caller)

    def store_flow(self, flow_id: UUID, name: str | None, jobs: Sequence[NewJob], caller: Caller | None) -> None:
        """Store a flow with all its jobs, or nothing."""

        def insert(connection: Connection, apart: Apart | None) -> None:
            flows.name_flow(connection, flow_id, name)
            _insert(connection, jobs, apart)

        self._store(insert, _Afterwards.of(jobs), caller)

    def store_alike(self, jobs: AlikeJobs, caller: Caller | None) -> list[Accepted] | None:
        """Store the jobs, all or none; None if all are new, or what each came to."""
        return self._store(
            lambda connection, apart: _insert_alike(connection, jobs, apart), _Afterwards.of_alike(jobs), caller
        )

    def _store(
        self, insert: Callable[[Connection, Apart | None], T], afterwards: "_Afterwards", caller: Caller | None
    ) -> T:
        """In a transaction of our own or in the caller's; confirms and wakes once that is committed."""
        if caller is None:
            done = in_transaction(self._open(), lambda connection: insert(connection, None))
            self._follow_up(afterwards)
            return done
        owner = caller() if isinstance(caller, scoped_session) else caller
        connection = _connection_of(owner)
        with connection.begin_nested():
            done = insert(connection, lambda work: in_transaction(self._open(), work))
        if isinstance(owner, Session):
            self._follow_up_after_commit(owner, afterwards)
        return done

    def read(self, job_id: UUID) -> JobView:
        job = in_transaction(self._open(), lambda connection: read_job(connection, job_id))
        if job is None:
            raise JobNotFound(str(job_id))
        return job

    def cancel(self, job_id: UUID) -> None:
        in_transaction(self._open(), lambda connection: transitions.cancel(connection, job_id))

    def read_flow(self, flow_id: UUID) -> FlowView:
        return in_transaction(self._open(), lambda connection: flows.read_flow(connection, flow_id))

    def cancel_flow(self, flow_id: UUID) -> None:
        in_transaction(self._open(), lambda connection: flows.cancel_flow(connection, flow_id))

    def retry_flow(self, flow_id: UUID) -> None:
        restarted = in_transaction(self._open(), lambda connection: flows.retry_flow(connection, flow_id))
        self._follow_up(_Afterwards(Counter(restarted.due), list(restarted.unconfirmed)))

    def registered(self, name: str) -> RegisteredTask | None:
        """A task that some worker registered, be it this very moment."""
        return self._registered.get().get(name) or self._registered.read().get(name)

    def queue_priorities(self, caller: Caller | None) -> Mapping[str, Priority]:
        """Of queues that have one of their own, as they were a second ago at most. Asked over the caller's connection
        where there is one: it may be all that the program has."""
        if caller is None:
            return self._queue_priorities.get()
        connection = _connection_of(caller() if isinstance(caller, scoped_session) else caller)

        def read() -> Mapping[str, Priority]:
            with connection.begin_nested():
                return default_priorities(connection)

        return self._queue_priorities.get(read)

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

    def _follow_up_after_commit(self, session: Session, afterwards: "_Afterwards") -> None:
        if self not in session.info:
            session.info[self] = _Afterwards()
            event.listen(session, "after_commit", self._on_commit)
            event.listen(session, "after_transaction_end", self._on_transaction_end)
        session.info[self].add(afterwards)

    def _on_commit(self, session: Session) -> None:
        if not session.in_nested_transaction():  # the end of a savepoint is told as a commit too
            self._follow_up(session.info[self])

    def _on_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            session.info[self].clear()

    def _follow_up(self, afterwards: "_Afterwards") -> None:
        """What is committed stays so, whatever happens here: the scheduler confirms and wakes as well."""
        due = afterwards.due.copy()
        if afterwards.unconfirmed:
            alone = self._open().execution_options(isolation_level="AUTOCOMMIT")
            try:
                due.update(in_transaction(alone, lambda connection: confirm(connection, afterwards.unconfirmed)))
            except Exception as error:
                if not is_unavailable(error):
                    raise
                events.database_failed(error)
        self._wake(due)

    def _wake(self, due: Counter[Lane]) -> None:
        """Wake lanes with jobs that are due at once; later ones are the scheduler's. No broker set: all are."""
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

    def _read_queue_priorities(self) -> Mapping[str, Priority]:
        return in_transaction(self._open(), default_priorities)

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


def _insert(connection: Connection, jobs: Sequence[NewJob], apart: Apart | None) -> list[Accepted]:
    return _all_accepted(insert_some(connection, jobs, apart=apart))


def _insert_alike(connection: Connection, jobs: AlikeJobs, apart: Apart | None) -> list[Accepted] | None:
    answers = insert_alike(connection, jobs, apart=apart)
    return None if answers is None else _all_accepted(answers)


def _all_accepted(answers: Sequence[Answer]) -> list[Accepted]:
    """Raises the first refusal, so that the transaction is rolled back."""
    for answer in answers:
        if not isinstance(answer, Accepted):
            raise answer
    return [answer for answer in answers if isinstance(answer, Accepted)]


def _lane_if_due(job: NewJob) -> Lane | None:
    is_due = job.run_at is None and not job.delay and not job.after
    return Lane(job.queue, job.priority) if is_due else None


@dataclass
class _Afterwards:
    """What is to be done once jobs are committed: lanes to be woken, and children to be confirmed."""

    due: Counter[Lane] = field(default_factory=Counter)
    unconfirmed: list[UUID] = field(default_factory=list)

    @classmethod
    def of(cls, jobs: Sequence[NewJob]) -> Self:
        due = Counter(lane for lane in map(_lane_if_due, jobs) if lane is not None)
        return cls(due, [job.id for job in jobs if job.after])

    @classmethod
    def of_alike(cls, jobs: AlikeJobs) -> Self:
        lane = _lane_if_due(jobs.pattern)
        due = Counter() if lane is None else Counter({lane: len(jobs.ids)})
        return cls(due, list(jobs.ids) if jobs.pattern.after else [])

    def add(self, more: "_Afterwards") -> None:
        self.due.update(more.due)
        self.unconfirmed += more.unconfirmed

    def clear(self) -> None:
        self.due.clear()
        self.unconfirmed.clear()


class _Remembered(Generic[T]):
    """A value that is read again when it is older than a second. Threads may share it."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._found: tuple[T, float] | None = None

    def get(self, read: Callable[[], T] | None = None) -> T:
        """``read``: another way to the same value."""
        found = self._found
        return self.read(read) if found is None or monotonic() >= found[1] else found[0]

    def read(self, read: Callable[[], T] | None = None) -> T:
        found = (read or self._read)()
        self._found = (found, monotonic() + _LOOK_AGAIN_SECONDS)
        return found

"""A database to play in, at a time of the test's choosing: jobs, workers, and what they do to each other."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text
from uuid_utils.compat import uuid7

from steeple.domain.job import Claim, ClaimedJob, Finish, JobError, NewJob, Reason
from steeple.domain.priority import Binding, Lane
from steeple.domain.states import State
from steeple.settings import Settings
from steeple.store import workers
from steeple.store.children import confirm, insert_some
from steeple.store.engine import create_engine, in_transaction
from steeple.store.exchange import Claimant, Exchanged, exchange
from steeple.store.inbox import insert_jobs
from steeple.store.reads import JobView, read_job
from steeple.store.tables import Table

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
"""The time at which tests begin that set the time themselves."""

STARVATION = 3600.0

_DISCONNECT_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database()
"""

_ATTEMPTS = """
SELECT attempt, fence, state, error ->> 'reason' AS reason FROM attempts WHERE job_id = :id ORDER BY fence
"""


def at(seconds: float) -> datetime:
    """So many seconds after ``NOW``."""
    return NOW + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Attempt:
    attempt: int
    fence: int
    state: State
    reason: str | None


class Playground:
    """Each method is a transaction of its own, so that nothing is seen before it is committed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_engine(Settings(database_url=url), size=8)

    def close(self) -> None:
        """Leave an empty database. Whoever is still connected is thrown out first, so that nothing is written later."""
        self.engine.dispose()
        self.sql(_DISCONNECT_OTHERS)
        for table in reversed(Table.metadata.sorted_tables):
            if table.name != "watermarks":
                self.sql(f"DELETE FROM {table.name}")
        self.sql("UPDATE watermarks SET at = 'epoch'")
        self.engine.dispose()

    def sql(self, statement: str, **parameters: Any) -> Sequence[Row[Any]]:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return result.all() if result.returns_rows else []

    def value(self, statement: str, **parameters: Any) -> Any:
        return self.sql(statement, **parameters)[0][0]

    def add(self, *, now: datetime | None = NOW, **fields: Any) -> UUID:
        """Submit a job."""
        return self.add_many(1, now=now, **fields)[0]

    def add_many(self, count: int, *, now: datetime | None = NOW, **fields: Any) -> list[UUID]:
        jobs = [NewJob(uuid7(), **({"task": "t", "args": "{}"} | fields)) for _ in range(count)]
        with self.engine.begin() as connection:
            insert_jobs(connection, jobs, now=now)
        return [job.id for job in jobs]

    def add_after(self, *parents: UUID, is_confirmed: bool = True, **fields: Any) -> UUID:
        """Submit a job that waits for others, now."""
        job = NewJob(uuid7(), **({"task": "t", "args": "{}", "after": parents} | fields))
        with self.engine.begin() as connection:
            insert_some(connection, [job])
        if is_confirmed:
            self.confirm(job.id)
        return job.id

    def confirm(self, *ids: UUID) -> dict[Lane, int]:
        return in_transaction(self.engine, lambda connection: confirm(connection, ids))

    def held_by(self, job_id: UUID) -> str | None:
        found: str | None = self.value("SELECT held_by FROM jobs WHERE id = :id", id=job_id)
        return found

    def worker(
        self,
        name: str = "w",
        *,
        slots: int = 2,
        binding: Binding | None = None,
        knows: tuple[str, ...] = (),
        **fields: Any,
    ) -> Claimant:
        """Register a worker, with the tasks that it ``knows``; the claimant is its first slot."""
        bound = binding or Binding()
        new = workers.NewWorker(uuid7(), name, "1", slots, bound, knows)
        with self.engine.begin() as connection:
            workers.register(connection, new)
        return replace(Claimant(new.id, 0, bound, STARVATION), **fields)

    def exchange(
        self,
        claimant: Claimant,
        finishes: Sequence[Finish] = (),
        limit: int = 1,
        *,
        now: datetime | None = NOW,
        ahead: bool = False,
    ) -> Exchanged:
        with self.engine.begin() as connection:
            return exchange(connection, finishes, claimant, limit, now=now, ahead=ahead)

    def claim(self, claimant: Claimant, limit: int = 1, *, now: datetime | None = NOW) -> tuple[ClaimedJob, ...]:
        return self.exchange(claimant, limit=limit, now=now).jobs

    def finish(self, claimant: Claimant, *finishes: Finish, now: datetime | None = NOW) -> tuple[Claim, ...]:
        """Returns the stale ones."""
        return self.exchange(claimant, finishes, 0, now=now).stale

    def running(self, claimant: Claimant | None = None, *, now: datetime | None = NOW, **fields: Any) -> ClaimedJob:
        """A job that has just been claimed; nothing else may be due in its queue."""
        job_id = self.add(now=now, **fields)
        claimant = replace(claimant or self.worker(), binding=Binding(queues=(self.read(job_id).queue,)))
        (job,) = self.claim(claimant, now=now)
        assert job.id == job_id
        return job

    def ended(self, state: State, *, now: datetime | None = NOW, **fields: Any) -> ClaimedJob:
        """A job that ended in ``state`` after one attempt."""
        claimant = self.worker()
        job = self.running(claimant, now=now, **fields)
        self.finish(claimant, end(job, state), now=now)
        return job

    def read(self, job_id: UUID) -> JobView:
        with self.engine.begin() as connection:
            found = read_job(connection, job_id)
        assert found is not None
        return found

    def attempts(self, job_id: UUID) -> list[Attempt]:
        rows = self.sql(_ATTEMPTS, id=job_id)
        return [Attempt(row.attempt, row.fence, State(row.state), row.reason) for row in rows]

    @contextmanager
    def rewritten(self, function: str, old: str, new: str) -> Iterator[None]:
        """With another text in a function of the schema, for the length of the block."""
        found = self.value("SELECT pg_get_functiondef(to_regproc(:name))", name=f"steeple_{function}")
        assert old in found, f"steeple_{function} has no {old!r}"
        try:
            self._define(found.replace(old, new))
            yield
        finally:
            self._define(found)

    def _define(self, function: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(function.replace("%", "%%"))

    def always_by_witness(self) -> AbstractContextManager[None]:
        """Children are left alone by the sight of another parent that is yet to end, however few those are."""
        return self.rewritten("end_parents", "< 512", "< 0")

    def transaction(self) -> Connection:
        """A connection for a test that holds a transaction open; close it."""
        return self.engine.connect()


def end(job: ClaimedJob, state: State, **fields: Any) -> Finish:
    """The finish of a claimed job, with what its state needs."""
    needed: dict[str, Any] = {}
    if state == State.SUCCESS:
        needed = {"result": '"done"'}
    elif state in (State.FAILED, State.PENDING):
        needed = {"error": JobError("ValueError", "no", Reason.EXCEPTION, "Traceback")}
    if state == State.PENDING:
        needed["retry_in"] = 10.0
    return Finish(job.id, job.fence, state, **(needed | fields))


def claim_of(job: ClaimedJob) -> Claim:
    return Claim(job.id, job.fence)

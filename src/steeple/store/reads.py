"""Reading jobs and their attempts. Pages of jobs are in ``listing``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.errors import JobNotFound

# Jobs as they are shown; JSON comes as text, since nobody here looks into it.
_JOBS = text("""
SELECT jobs.id, state, fence, task, CAST(args AS text) AS args, queue, priority, tags, unique_key,
       CAST(unique_states AS text[]) AS unique_states, unique_until, run_at, expires_at, timeout, attempt, max_attempts,
       crashes, created_at, jobs.started_at, finished_at, workers.name AS worker,
       CAST(progress AS text) AS progress, CAST(result AS text) AS result, CAST(error AS text) AS error,
       cancel_requested_at, CAST(stop AS text) AS stop, schedule_id, limits, fair_key, on_parent_failure,
       flow_id,
       CASE WHEN on_parent_failure IS NOT NULL
            THEN ARRAY(SELECT parent_id FROM job_parents WHERE child_id = jobs.id ORDER BY parent_id)
       END AS after
FROM jobs LEFT JOIN workers ON workers.id = jobs.worker_id
WHERE jobs.id = ANY (CAST(:ids AS uuid[]))
""")

# Which of some jobs have ended, for those who wait for them.
_ENDED = text("""
SELECT id FROM jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND state IN ('SUCCESS', 'FAILED', 'CANCELLED')
""")

# A job's attempts: those that were put down when they ended, and the one that stands on the job itself.
_ATTEMPTS = text("""
SELECT taken.attempt, taken.state, taken.fence, workers.name AS worker, taken.started_at, taken.finished_at,
       taken.error, taken.stop
FROM (
    SELECT attempt, state, fence, worker_id, started_at, finished_at, CAST(error AS text) AS error,
           CAST(stop AS text) AS stop
    FROM attempts WHERE job_id = :id
    UNION ALL
    SELECT attempt, state, fence, worker_id, started_at, finished_at, NULL, CAST(stop AS text)
    FROM jobs WHERE id = :id AND state IN ('RUNNING', 'SUCCESS')
) AS taken LEFT JOIN workers ON workers.id = taken.worker_id
ORDER BY fence DESC LIMIT :limit
""")

# Whether there is such a job, for a page of what it has that came out empty.
_EXISTS = text("SELECT EXISTS (SELECT FROM jobs WHERE id = :id)")


@dataclass(frozen=True)
class JobView:
    """A job as it is shown. ``args``, ``progress``, ``result``, ``error`` and ``stop`` are JSON text, kept number
    for number.
    """

    id: UUID
    state: State
    fence: int
    task: str
    args: str
    queue: str
    priority: Priority
    tags: tuple[str, ...]
    unique_key: str | None
    unique_states: tuple[State, ...] | None
    unique_until: datetime | None
    run_at: datetime
    expires_at: datetime | None
    timeout: float
    attempt: int
    max_attempts: int
    crashes: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    progress: str | None
    result: str | None
    error: str | None
    cancel_requested_at: datetime | None
    stop: str | None
    schedule_id: UUID | None
    on_parent_failure: str | None
    flow_id: UUID | None
    after: tuple[UUID, ...]
    limits: tuple[str, ...]
    fair_key: str | None


@dataclass(frozen=True)
class AttemptView:
    """An attempt as it is shown. ``error`` and ``stop`` are JSON text."""

    attempt: int
    state: State
    fence: int
    worker: str | None
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None
    stop: str | None


def read_jobs(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, JobView]:
    """The jobs of these ids that exist."""
    return {row.id: _job_view(row) for row in connection.execute(_JOBS, {"ids": list(ids)})}


def read_job(connection: Connection, job_id: UUID) -> JobView | None:
    return read_jobs(connection, [job_id]).get(job_id)


def require_job(connection: Connection, job_id: UUID) -> None:
    """Raises ``JobNotFound`` if there is no such job."""
    if not connection.execute(_EXISTS, {"id": job_id}).scalar_one():
        raise JobNotFound(str(job_id))


def read_attempts(connection: Connection, job_id: UUID, *, limit: int = 1000) -> list[AttemptView]:
    """The last ``limit`` attempts of a job, oldest first. Raises ``JobNotFound``."""
    require_job(connection, job_id)
    rows = connection.execute(_ATTEMPTS, {"id": job_id, "limit": limit}).all()
    return [AttemptView(**row._asdict() | {"state": State(row.state)}) for row in reversed(rows)]


def ended(connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these jobs are in a terminal state."""
    return set(connection.execute(_ENDED, {"ids": list(ids)}).scalars())


def _job_view(row: Row[Any]) -> JobView:
    fields = row._asdict()
    fields |= {"state": State(row.state), "priority": Priority.from_rank(row.priority), "tags": tuple(row.tags)}
    if row.unique_states is not None:
        fields["unique_states"] = tuple(map(State, row.unique_states))
    fields["after"] = tuple(row.after or ())
    fields["limits"] = tuple(row.limits or ())
    return JobView(**fields)

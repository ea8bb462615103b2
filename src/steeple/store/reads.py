"""Reading jobs: single ones, pages of them, their past attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.priority import Priority
from steeple.domain.states import State

# Jobs as they are shown; JSON comes as text, since nobody here looks into it.
_JOBS = text("""
SELECT jobs.id, state, fence, task, CAST(args AS text) AS args, queue, priority, tags, unique_key, run_at, expires_at,
       timeout, attempt, max_attempts, crashes, created_at, jobs.started_at, finished_at, workers.name AS worker,
       CAST(progress AS text) AS progress, CAST(result AS text) AS result, CAST(error AS text) AS error,
       cancel_requested_at, schedule_id
FROM jobs LEFT JOIN workers ON workers.id = jobs.worker_id
WHERE jobs.id = ANY (CAST(:ids AS uuid[]))
""")

# Which of some jobs have ended, for those who wait for them.
_ENDED = text("""
SELECT id FROM jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND state IN ('SUCCESS', 'FAILED', 'CANCELLED')
""")


@dataclass(frozen=True)
class JobView:
    """A job as it is shown. ``args``, ``progress``, ``result`` and ``error`` are JSON text, kept number for number."""

    id: UUID
    state: State
    fence: int
    task: str
    args: str
    queue: str
    priority: Priority
    tags: tuple[str, ...]
    unique_key: str | None
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
    schedule_id: UUID | None


def read_jobs(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, JobView]:
    """The jobs of these ids that exist."""
    return {row.id: _job_view(row) for row in connection.execute(_JOBS, {"ids": list(ids)})}


def read_job(connection: Connection, job_id: UUID) -> JobView | None:
    return read_jobs(connection, [job_id]).get(job_id)


def ended(connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these jobs are in a terminal state."""
    return set(connection.execute(_ENDED, {"ids": list(ids)}).scalars())


def _job_view(row: Row[Any]) -> JobView:
    fields = row._asdict()
    fields |= {"state": State(row.state), "priority": Priority.from_rank(row.priority), "tags": tuple(row.tags)}
    return JobView(**fields)

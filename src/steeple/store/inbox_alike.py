"""Writes many jobs that are alike: what they share is sent once, and nothing comes back.

What jobs share is half of what each costs the client, and a third of what it costs PostgreSQL.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from steeple.domain.job import NewJob
from steeple.store.children import insert_some
from steeple.store.encoding import dump
from steeple.store.inbox import INSERT_ALIKE, MOST_AT_ONCE
from steeple.store.inbox_answers import Answer
from steeple.store.inbox_conflicts import Apart


@dataclass(frozen=True)
class AlikeJobs:
    """Jobs that are what ``pattern`` is, each with an id and arguments of its own."""

    pattern: NewJob
    ids: Sequence[UUID]
    args: Sequence[str]

    def each(self) -> list[NewJob]:
        return [replace(self.pattern, id=job_id, args=args) for job_id, args in self._pairs()]

    def parts(self, size: int) -> Iterable["AlikeJobs"]:
        for start in range(0, len(self.ids), size):
            end = start + size
            yield AlikeJobs(self.pattern, self.ids[start:end], self.args[start:end])

    def rows(self) -> str:
        """Ids and arguments as the INSERT takes them: a JSON list."""
        rows = [f'{{"id":"{job_id.int:032x}","args":{args}}}' for job_id, args in self._pairs()]
        return f"[{','.join(rows)}]"

    def _pairs(self) -> Iterable[tuple[UUID, str]]:
        return zip(self.ids, self.args, strict=True)


def insert_alike(connection: Connection, jobs: AlikeJobs, *, apart: Apart | None = None) -> list[Answer] | None:
    """Insert ``jobs``; None if they all are stored, or the answers to each. ``apart``: as of ``insert_jobs``."""
    if _needs_more(jobs.pattern):
        return insert_some(connection, jobs.each(), apart=apart)
    shared = _shared(jobs.pattern)
    for part in jobs.parts(MOST_AT_ONCE):
        connection.execute(INSERT_ALIKE, shared | {"jobs": part.rows()})
    return None


def _needs_more(job: NewJob) -> bool:
    """Whether a job like this can be refused, or has to do with others."""
    has_key = job.unique_key is not None or job.idempotency is not None
    return has_key or bool(job.after) or job.flow_id is not None


def _shared(job: NewJob) -> dict[str, Any]:
    return {
        "task": job.task,
        "queue": job.queue,
        "priority": job.priority.rank,
        "tags": list(job.tags),
        "run_at": job.run_at,
        "delay": job.delay,
        "expires_at": job.expires_at,
        "timeout": job.timeout,
        "max_attempts": job.max_attempts,
        "retry": None if job.retry is None else dump(asdict(job.retry)),
        "limits": list(job.limits) or None,
        "fair_key": job.fair_key,
    }

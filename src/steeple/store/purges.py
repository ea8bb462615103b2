"""Empties a queue of what is pending in it, batch by batch, so that nothing is locked for long."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

# Counts a queue's pending jobs that were there at a time.
_PENDING = text("""
SELECT count(*) AS jobs, now() AS at FROM jobs
WHERE state = 'PENDING' AND queue = :name AND created_at <= COALESCE(CAST(:until AS timestamptz), now())
""")

# Cancels some of a queue's pending jobs that were there at a time, going on after the last one that was cancelled, so
# that none goes through what others have left behind. What somebody is just claiming or changing is left out.
_PURGE = text("""
WITH clock AS MATERIALIZED (SELECT now() AS now),
chosen AS MATERIALIZED (
    SELECT id, task FROM jobs
    WHERE state = 'PENDING' AND queue = :name AND (task, id) > (:after_task, CAST(:after_id AS uuid))
      AND created_at <= CAST(:until AS timestamptz)
    ORDER BY task, id LIMIT :limit FOR UPDATE SKIP LOCKED
),
cancelled AS (
    UPDATE jobs SET state = 'CANCELLED', fence = fence + 1, finished_at = clock.now, cancel_requested_at = clock.now,
        held_by = NULL
    FROM clock WHERE jobs.id = ANY (ARRAY(SELECT id FROM chosen))
    RETURNING jobs.id
)
SELECT (SELECT count(*) FROM cancelled) AS jobs, last.task, last.id
FROM (SELECT) AS always LEFT JOIN (SELECT task, id FROM chosen ORDER BY task DESC, id DESC LIMIT 1) AS last ON true
""")

_AT_ONCE = 1000

Place = tuple[str, UUID]
"""Of a job among those of its queue: its task and its id."""


@dataclass(frozen=True)
class Purged:
    """What one batch did. ``after`` is where the next goes on; None if none is left."""

    jobs: int
    after: Place | None


@dataclass(frozen=True)
class Pending:
    jobs: int
    at: datetime


def count_pending(connection: Connection, name: str, *, until: datetime | None = None) -> Pending:
    """The queue's pending jobs that were there at ``until``, or are now; and when now is."""
    row = connection.execute(_PENDING, {"name": name, "until": until}).one()
    return Pending(row.jobs, row.at)


def purge(
    connection: Connection,
    name: str,
    *,
    until: datetime,
    after: Place | None = None,
    limit: int = _AT_ONCE,
) -> Purged:
    """Cancel up to ``limit`` of the queue's pending jobs that were there at ``until``, in the order of task and id."""
    task, job_id = after or ("", UUID(int=0))
    row = connection.execute(
        _PURGE, {"name": name, "until": until, "after_task": task, "after_id": job_id, "limit": limit}
    ).one()
    return Purged(row.jobs, None if row.jobs < limit else (row.task, row.id))

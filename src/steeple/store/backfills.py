"""Backfills: past ranges of schedules whose fires are all put down at once, and get their jobs a few at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.schedule import Definition
from steeple.store.schedules import definition_of, utc

# A new backfill; none if it was stored before.
_INSERT = text("""
INSERT INTO backfills (id, schedule_id, starts_at, ends_at, max_running, total)
VALUES (:id, :schedule_id, :starts_at, :ends_at, :max_running, 0)
ON CONFLICT (id) DO NOTHING
RETURNING id
""")

# Its fires, which wait. A time that has had its job keeps it; one that came to nothing gets another chance.
_INSERT_FIRES = text("""
INSERT INTO fires (schedule_id, time, outcome, backfill_id)
SELECT :schedule_id, time, 'queued', :id FROM unnest(CAST(:times AS timestamptz[])) AS fire (time)
ON CONFLICT (schedule_id, time) DO UPDATE
SET outcome = 'queued', why = NULL, backfill_id = excluded.backfill_id, at = now()
WHERE fires.job_id IS NULL AND fires.outcome <> 'queued'
""")

# How many fires it has; one without any has finished.
_COUNT = text("""
UPDATE backfills SET total = CAST(:total AS integer),
                     finished_at = CASE WHEN CAST(:total AS integer) = 0 THEN now() END
WHERE id = :id
""")

# Takes backfills with fires that wait, and of each schedule what a job needs.
_TAKE_OPEN = text("""
SELECT backfills.id AS backfill_id, backfills.max_running, schedules.id, name, task, CAST(args AS text) AS args, queue,
       priority, cron, every, times, timezone, schedules.starts_at, schedules.ends_at, jitter, overlap, catch_up,
       catch_up_window
FROM backfills JOIN schedules ON schedules.id = backfills.schedule_id
WHERE backfills.finished_at IS NULL
ORDER BY backfills.id LIMIT :limit
FOR UPDATE OF backfills SKIP LOCKED
""")

# How many jobs of a backfill are pending or running.
_ACTIVE = text("""
SELECT count(*) FROM jobs JOIN fires ON fires.job_id = jobs.id
WHERE jobs.schedule_id = :schedule_id AND jobs.schedule_id IS NOT NULL AND jobs.state IN ('PENDING', 'RUNNING')
  AND fires.backfill_id = :id
""")

# Its next fires that wait, the earliest first.
_NEXT = text("""
SELECT time FROM fires WHERE backfill_id = :id AND backfill_id IS NOT NULL AND outcome = 'queued'
ORDER BY time LIMIT :limit
""")

# Each of its fires has had its turn.
_FINISH = text("UPDATE backfills SET finished_at = now() WHERE id = :id")

# The backfills of a schedule, newest first, each with how many of its fires still wait.
_LIST = text("""
SELECT id, schedule_id, starts_at, ends_at, max_running, total, created_at, finished_at,
       (SELECT count(*) FROM fires
        WHERE backfill_id = backfills.id AND backfill_id IS NOT NULL AND outcome = 'queued') AS waiting
FROM backfills
WHERE schedule_id = :schedule_id AND (CAST(:id AS uuid) IS NULL OR id = CAST(:id AS uuid))
ORDER BY id DESC LIMIT :limit
""")

_MOST_AT_ONCE = 100


@dataclass(frozen=True)
class NewBackfill:
    """``max_running``: the most of its jobs that are pending or running at once."""

    id: UUID
    schedule_id: UUID
    starts_at: datetime
    ends_at: datetime
    max_running: int


@dataclass(frozen=True)
class OpenBackfill:
    """A backfill whose row is locked, and how many jobs it may have more."""

    id: UUID
    schedule_id: UUID
    definition: Definition
    free: int


@dataclass(frozen=True)
class BackfillView:
    """``total``: its fires; ``waiting``: those of them that have no job yet."""

    id: UUID
    schedule_id: UUID
    starts_at: datetime
    ends_at: datetime
    max_running: int
    total: int
    created_at: datetime
    finished_at: datetime | None
    waiting: int


def insert(connection: Connection, new: NewBackfill, times: Sequence[datetime]) -> None:
    """Put a backfill and its fires down; again is as good as once."""
    if connection.execute(_INSERT, vars(new)).first() is None:
        return
    fires = {"id": new.id, "schedule_id": new.schedule_id, "times": list(times)}
    total = connection.execute(_INSERT_FIRES, fires).rowcount if times else 0
    connection.execute(_COUNT, {"id": new.id, "total": total})


def take_open(connection: Connection) -> list[OpenBackfill]:
    """Lock backfills that have fires left; those that another scheduler looks after are its."""
    rows = connection.execute(_TAKE_OPEN, {"limit": _MOST_AT_ONCE}).all()
    return [_open(connection, row) for row in rows]


def next_times(connection: Connection, backfill_id: UUID, *, limit: int) -> list[datetime]:
    """The times of its next fires that wait."""
    return [utc(time) for time in connection.execute(_NEXT, {"id": backfill_id, "limit": limit}).scalars()]


def finish(connection: Connection, backfill_id: UUID) -> None:
    connection.execute(_FINISH, {"id": backfill_id})


def read_backfills(
    connection: Connection, schedule_id: UUID, *, limit: int = 100, backfill_id: UUID | None = None
) -> list[BackfillView]:
    """The backfills of a schedule, newest first, or one of them."""
    rows = connection.execute(_LIST, {"schedule_id": schedule_id, "id": backfill_id, "limit": limit})
    return [BackfillView(**row._asdict()) for row in rows]


def _open(connection: Connection, row: Row[Any]) -> OpenBackfill:
    active = connection.execute(_ACTIVE, {"id": row.backfill_id, "schedule_id": row.id}).scalar_one()
    return OpenBackfill(row.backfill_id, row.id, definition_of(row), max(0, row.max_running - active))

"""The fires of schedules: which are due, what became of each, and the next. All of it under the lock of the schedule's
row, so that any number of schedulers make one job of each.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from steeple.domain.schedule import Definition, Outcome
from steeple.store.schedules import definition_of, utc

# When the next fire is due, by one look at the index of due schedules, and whether any fire waits for its job: for the
# end of another, or in a backfill.
_OUTLOOK = text("""
SELECT CAST(EXTRACT(epoch FROM (
           SELECT next_due FROM schedules WHERE NOT paused AND next_due IS NOT NULL ORDER BY next_due LIMIT 1
       ) - COALESCE(CAST(:now AS timestamptz), now())) AS float8) AS next_in,
       EXISTS (
           SELECT FROM fires JOIN schedules ON schedules.id = fires.schedule_id
           WHERE fires.outcome = 'queued' AND fires.backfill_id IS NULL AND NOT schedules.paused
       ) AS has_waiting,
       EXISTS (SELECT FROM backfills WHERE finished_at IS NULL) AS has_backfills
""")

# Takes schedules that are due, the longest overdue first; those that another scheduler has taken are its.
_TAKE_DUE = text("""
SELECT id, name, task, CAST(args AS text) AS args, queue, priority, cron, every, times, timezone, anchor, starts_at,
       ends_at, jitter, overlap, catch_up, catch_up_window, next_time, COALESCE(CAST(:now AS timestamptz), now()) AS now
FROM schedules
WHERE NOT paused AND next_due <= COALESCE(CAST(:now AS timestamptz), now())
ORDER BY next_due LIMIT :limit
FOR UPDATE SKIP LOCKED
""")

# The same of schedules whose fires wait, while no earlier job of theirs is active.
_TAKE_WAITING = text("""
SELECT schedules.id, name, task, CAST(args AS text) AS args, queue, priority, cron, every, times, timezone, anchor,
       starts_at, ends_at, jitter, overlap, catch_up, catch_up_window, fires.time AS next_time,
       COALESCE(CAST(:now AS timestamptz), now()) AS now
FROM fires JOIN schedules ON schedules.id = fires.schedule_id
WHERE fires.outcome = 'queued' AND fires.backfill_id IS NULL AND NOT schedules.paused
  AND NOT EXISTS (
      SELECT FROM jobs
      WHERE jobs.schedule_id = schedules.id AND jobs.schedule_id IS NOT NULL AND jobs.state IN ('PENDING', 'RUNNING')
        AND NOT EXISTS (SELECT FROM fires AS made WHERE made.job_id = jobs.id AND made.backfill_id IS NOT NULL)
  )
ORDER BY fires.time LIMIT :limit
FOR UPDATE OF schedules, fires SKIP LOCKED
""")

# The active jobs of schedules. Those of backfills do not count: they go on beside the others.
_ACTIVE = text("""
SELECT jobs.schedule_id, jobs.id FROM jobs
WHERE jobs.schedule_id = ANY (CAST(:ids AS uuid[])) AND jobs.schedule_id IS NOT NULL
  AND jobs.state IN ('PENDING', 'RUNNING')
  AND NOT EXISTS (SELECT FROM fires AS made WHERE made.job_id = jobs.id AND made.backfill_id IS NOT NULL)
ORDER BY jobs.id
""")

# The fires of schedules that wait.
_WAITING = text("""
SELECT schedule_id, time FROM fires
WHERE schedule_id = ANY (CAST(:ids AS uuid[])) AND outcome = 'queued' AND backfill_id IS NULL
""")

# Puts fires down. A time that has been is left alone: its schedule was changed, and comes to it again. So is a job that
# has its fire.
_RECORD = text("""
INSERT INTO fires (schedule_id, time, outcome, why, job_id, at)
SELECT schedule_id, time, outcome, why, job_id, COALESCE(CAST(:now AS timestamptz), now())
FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[]), CAST(:outcomes AS text[]), CAST(:whys AS text[]),
            CAST(:jobs AS uuid[])) AS fire (schedule_id, time, outcome, why, job_id)
ON CONFLICT DO NOTHING
RETURNING schedule_id, time
""")

# What became of fires that waited.
_SETTLE = text("""
UPDATE fires SET outcome = fire.outcome, why = fire.why, job_id = fire.job_id,
                 at = COALESCE(CAST(:now AS timestamptz), now())
FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[]), CAST(:outcomes AS text[]), CAST(:whys AS text[]),
            CAST(:jobs AS uuid[])) AS fire (schedule_id, time, outcome, why, job_id)
WHERE fires.schedule_id = fire.schedule_id AND fires.time = fire.time AND fires.outcome = 'queued'
RETURNING fires.schedule_id, fires.time
""")

# The next fire of schedules.
_ADVANCE = text("""
UPDATE schedules SET next_time = following.time, next_due = following.due
FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[]), CAST(:dues AS timestamptz[]))
     AS following (id, time, due)
WHERE schedules.id = following.id
""")

# The fires of a schedule, latest time first.
_LIST = text("""
SELECT time, outcome, why, job_id, backfill_id, at FROM fires
WHERE schedule_id = :id AND (CAST(:before AS timestamptz) IS NULL OR time < CAST(:before AS timestamptz))
ORDER BY time DESC LIMIT :limit
""")

# Deletes fires that became something long ago.
_FORGET = text("""
DELETE FROM fires WHERE (schedule_id, time) IN (
    SELECT schedule_id, time FROM fires
    WHERE at < COALESCE(CAST(:now AS timestamptz), now()) - CAST(:retention AS float8) * interval '1 s'
      AND outcome <> 'queued'
    ORDER BY at LIMIT :limit
)
""")


@dataclass(frozen=True)
class Outlook:
    """``next_in``: seconds until the next fire is due, None if none is to come."""

    next_in: float | None
    has_waiting: bool
    has_backfills: bool


@dataclass(frozen=True)
class Taken:
    """A schedule whose row is locked, with the ``time`` to look at, and the database's ``now``."""

    id: UUID
    definition: Definition
    anchor: datetime
    time: datetime
    now: datetime


class FireKey(NamedTuple):
    schedule_id: UUID
    time: datetime


@dataclass(frozen=True)
class Fire:
    """What became of a time of a schedule. ``job_id``: the job that it made."""

    key: FireKey
    outcome: Outcome
    why: str | None = None
    job_id: UUID | None = None


@dataclass(frozen=True)
class FireView:
    """A fire as it is shown. ``at``: when it became what it is."""

    time: datetime
    outcome: Outcome
    why: str | None
    job_id: UUID | None
    backfill_id: UUID | None
    at: datetime


def outlook(connection: Connection, *, now: datetime | None = None) -> Outlook:
    row = connection.execute(_OUTLOOK, {"now": now}).one()
    return Outlook(row.next_in, row.has_waiting, row.has_backfills)


def take_due(connection: Connection, *, limit: int, now: datetime | None = None) -> list[Taken]:
    """Lock up to ``limit`` schedules that are due."""
    return _taken(connection.execute(_TAKE_DUE, {"limit": limit, "now": now}))


def take_waiting(connection: Connection, *, limit: int, now: datetime | None = None) -> list[Taken]:
    """Lock up to ``limit`` schedules of which a fire waits, and nothing for it to wait for is there."""
    return _taken(connection.execute(_TAKE_WAITING, {"limit": limit, "now": now}))


def active_jobs(connection: Connection, schedule_ids: Collection[UUID]) -> dict[UUID, list[UUID]]:
    """By schedule, its jobs that are pending or running."""
    found: dict[UUID, list[UUID]] = {}
    if schedule_ids:
        for row in connection.execute(_ACTIVE, {"ids": list(schedule_ids)}):
            found.setdefault(row.schedule_id, []).append(row.id)
    return found


def waiting_fires(connection: Connection, schedule_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """By schedule, the time of its fire that waits."""
    if not schedule_ids:
        return {}
    return {row.schedule_id: utc(row.time) for row in connection.execute(_WAITING, {"ids": list(schedule_ids)})}


def record(connection: Connection, fires: Sequence[Fire], *, now: datetime | None = None) -> set[FireKey]:
    """Put fires down; gives back those whose time had not been before."""
    return _write(connection, _RECORD, fires, now)


def settle(connection: Connection, fires: Sequence[Fire], *, now: datetime | None = None) -> set[FireKey]:
    """Note what became of fires that waited; gives back those that did."""
    return _write(connection, _SETTLE, fires, now)


def advance(connection: Connection, following: Iterable[tuple[UUID, datetime | None, datetime | None]]) -> None:
    """Write the next time of schedules, and when it is due."""
    rows = list(following)
    if rows:
        ids, times, dues = (list(column) for column in zip(*rows, strict=True))
        connection.execute(_ADVANCE, {"ids": ids, "times": times, "dues": dues})


def read_fires(
    connection: Connection, schedule_id: UUID, *, limit: int, before: datetime | None = None
) -> list[FireView]:
    """Up to ``limit`` fires of a schedule before a time, latest first."""
    rows = connection.execute(_LIST, {"id": schedule_id, "before": before, "limit": limit})
    return [
        FireView(utc(row.time), Outcome(row.outcome), row.why, row.job_id, row.backfill_id, utc(row.at)) for row in rows
    ]


def forget(connection: Connection, retention: float, *, limit: int, now: datetime | None = None) -> int:
    """Delete up to ``limit`` fires that are older than ``retention`` seconds; returns how many."""
    return connection.execute(_FORGET, {"retention": retention, "limit": limit, "now": now}).rowcount


def _write(connection: Connection, statement: Any, fires: Sequence[Fire], now: datetime | None) -> set[FireKey]:
    if not fires:
        return set()
    parameters = {
        "ids": [each.key.schedule_id for each in fires],
        "times": [each.key.time for each in fires],
        "outcomes": [each.outcome.value for each in fires],
        "whys": [each.why for each in fires],
        "jobs": [each.job_id for each in fires],
        "now": now,
    }
    return {FireKey(row.schedule_id, utc(row.time)) for row in connection.execute(statement, parameters)}


def _taken(rows: Iterable[Any]) -> list[Taken]:
    return [Taken(row.id, definition_of(row), utc(row.anchor), utc(row.next_time), utc(row.now)) for row in rows]

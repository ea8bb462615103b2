"""What was set for a queue: that it is paused, its default priority, its retention, its limit."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from steeple.domain.limits import Rate
from steeple.domain.priority import Lane, Priority

# What is set for all queues of which something is, or for one. A queue has run dry if it is paused and nothing of it
# runs; not before the claims have ended that had begun when it was paused.
_SETTINGS = text("""
SELECT name, paused_at, paused_by, pause_note, default_priority, retention, max_running, rate_count, rate_period,
       rate_burst,
       COALESCE(paused_at <= now() - CAST(:settled AS float8) * interval '1 s', false)
           AND NOT EXISTS (SELECT FROM jobs WHERE state = 'RUNNING' AND jobs.queue = queues.name) AS is_drained
FROM queues WHERE CAST(:name AS text) IS NULL OR name = :name ORDER BY name
""")

# Pauses a queue. One that is paused stays so since then; by whom and why is told by who asked last.
_PAUSE = text("""
INSERT INTO queues (name, paused_at, paused_by, pause_note) VALUES (:name, now(), :by, :note)
ON CONFLICT (name) DO UPDATE SET
    paused_at = COALESCE(queues.paused_at, now()), paused_by = excluded.paused_by,
    pause_note = COALESCE(excluded.pause_note, queues.pause_note)
""")

# Lets a queue go on.
_RESUME = text("""
UPDATE queues SET paused_at = NULL, paused_by = NULL, pause_note = NULL WHERE name = :name AND paused_at IS NOT NULL
""")

# How many jobs are due in each of a queue's lanes, up to what is worth waking for.
_DUE = text("""
SELECT priority, due.jobs FROM unnest(CAST(:priorities AS smallint[])) AS priority
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND queue = :name AND jobs.priority = priority.priority
          AND run_at <= now()
        LIMIT :enough
    ) AS first_few
) AS due
""")

# Changes what is named, be it to nothing.
_CHANGE = text("""
INSERT INTO queues (name, default_priority, retention, max_running, rate_count, rate_period, rate_burst)
VALUES (:name, CAST(:default_priority AS smallint), CAST(:retention AS float8), CAST(:max_running AS integer),
        CAST(:rate_count AS integer), CAST(:rate_period AS float8), CAST(:rate_burst AS integer))
ON CONFLICT (name) DO UPDATE SET
    default_priority = CASE WHEN 'default_priority' = ANY (CAST(:changed AS text[]))
                            THEN excluded.default_priority ELSE queues.default_priority END,
    retention = CASE WHEN 'retention' = ANY (CAST(:changed AS text[]))
                     THEN excluded.retention ELSE queues.retention END,
    max_running = CASE WHEN 'max_running' = ANY (CAST(:changed AS text[]))
                       THEN excluded.max_running ELSE queues.max_running END,
    (rate_count, rate_period, rate_burst) = (
        SELECT rate.rate_count, rate.rate_period, rate.rate_burst FROM (
            VALUES (true, excluded.rate_count, excluded.rate_period, excluded.rate_burst),
                   (false, queues.rate_count, queues.rate_period, queues.rate_burst)
        ) AS rate (is_new, rate_count, rate_period, rate_burst)
        WHERE is_new = ('rate' = ANY (CAST(:changed AS text[])))
    )
""")

# The priorities that queues have jobs given of which nobody names one.
_PRIORITIES = text("SELECT name, default_priority FROM queues WHERE default_priority IS NOT NULL")

SETTLED_SECONDS = 1.0
"""So long after a pause a claim that had begun before it may still take a job."""

_ENOUGH = 256


@dataclass(frozen=True)
class QueueSettings:
    """``retention`` is in seconds. ``is_drained``: paused, and nothing of it runs any more."""

    name: str
    paused_at: datetime | None = None
    paused_by: str | None = None
    pause_note: str | None = None
    default_priority: Priority | None = None
    retention: float | None = None
    max_running: int | None = None
    rate: Rate | None = None
    is_drained: bool = False

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None


@dataclass(frozen=True)
class QueueChange:
    """New values for what is ``named``; None takes a queue's own away."""

    named: Set[str]
    default_priority: Priority | None = None
    retention: float | None = None
    max_running: int | None = None
    rate: Rate | None = None


def all_settings(connection: Connection) -> dict[str, QueueSettings]:
    """By the names of the queues for which something was ever set."""
    rows = connection.execute(_SETTINGS, {"name": None, "settled": SETTLED_SECONDS})
    return {row.name: _settings(row) for row in rows}


def read_settings(connection: Connection, name: str) -> QueueSettings:
    row = connection.execute(_SETTINGS, {"name": name, "settled": SETTLED_SECONDS}).first()
    return QueueSettings(name) if row is None else _settings(row)


def default_priorities(connection: Connection) -> dict[str, Priority]:
    """Of the queues that have one of their own."""
    return {row.name: Priority.from_rank(row.default_priority) for row in connection.execute(_PRIORITIES)}


def pause(connection: Connection, name: str, *, by: str, note: str | None = None) -> QueueSettings:
    """From now on no claim takes a job of the queue; what runs goes on."""
    connection.execute(_PAUSE, {"name": name, "by": by, "note": note})
    return read_settings(connection, name)


def resume(connection: Connection, name: str) -> dict[Lane, int]:
    """Let the queue go on; returns how many jobs are due in its lanes, up to a bound."""
    connection.execute(_RESUME, {"name": name})
    ranks = [priority.rank for priority in Priority]
    rows = connection.execute(_DUE, {"name": name, "priorities": ranks, "enough": _ENOUGH})
    return {Lane(name, Priority.from_rank(row.priority)): row.jobs for row in rows if row.jobs}


def change(connection: Connection, name: str, values: QueueChange) -> QueueSettings:
    rate = values.rate
    connection.execute(
        _CHANGE,
        {
            "name": name,
            "changed": sorted(values.named),
            "default_priority": None if values.default_priority is None else values.default_priority.rank,
            "retention": values.retention,
            "max_running": values.max_running,
            "rate_count": None if rate is None else rate.count,
            "rate_period": None if rate is None else rate.period,
            "rate_burst": None if rate is None else rate.burst,
        },
    )
    return read_settings(connection, name)


def _settings(row: Row[Any]) -> QueueSettings:
    return QueueSettings(
        name=row.name,
        paused_at=row.paused_at,
        paused_by=row.paused_by,
        pause_note=row.pause_note,
        default_priority=None if row.default_priority is None else Priority.from_rank(row.default_priority),
        retention=row.retention,
        max_running=row.max_running,
        rate=None if row.rate_count is None else Rate(row.rate_count, row.rate_period, row.rate_burst),
        is_drained=row.is_drained,
    )

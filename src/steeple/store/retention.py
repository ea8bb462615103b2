"""Deletes what has been kept long enough: finished jobs with their attempts and logs, and what was counted of them.

Queues may keep theirs for a time of their own. As no index has queue and time of finishing, each rule goes through the
jobs by that time, and goes on where it has come to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text

from steeple.store.rollup import FOLD_AFTER

# Deletes the oldest finished jobs, by their time of finishing: of a queue, or of all but some. One that has not been
# counted yet stays for now.
_PRUNE = text("""
WITH old AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE finished_at < (
        SELECT LEAST(at, COALESCE(CAST(:now AS timestamptz), now()) - CAST(:retention AS float8) * interval '1 s')
        FROM watermarks WHERE name = 'finished_minutes'
    )
      AND finished_at >= COALESCE(CAST(:since AS timestamptz), '-infinity')
      AND (CAST(:queue AS text) IS NULL OR queue = :queue) AND queue <> ALL (CAST(:others AS text[]))
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
DELETE FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM old))
""")

# Until when jobs may be deleted by now.
_CUTOFF = text("""
SELECT LEAST(at, COALESCE(CAST(:now AS timestamptz), now()) - CAST(:retention AS float8) * interval '1 s')
FROM watermarks WHERE name = 'finished_minutes'
""")

# Deletes the counts of minutes past, or of hours where minutes have become hours, once no job of theirs is left.
_FORGET_MINUTES = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now)
DELETE FROM finished_minutes USING clock
WHERE minute + CASE WHEN minute < clock.now - CAST(:fold_after AS float8) * interval '1 s'
                    THEN interval '1 h' ELSE interval '1 min' END
    < LEAST(clock.now - CAST(:retention AS float8) * interval '1 s',
            (SELECT min(finished_at) FROM jobs WHERE finished_at IS NOT NULL))
""")

# The same for a queue, or for all but some, of which every job has been deleted that finished until then.
_FORGET_MINUTES_UNTIL = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now)
DELETE FROM finished_minutes USING clock
WHERE (CAST(:queue AS text) IS NULL OR queue = :queue) AND queue <> ALL (CAST(:others AS text[]))
  AND minute + CASE WHEN minute < clock.now - CAST(:fold_after AS float8) * interval '1 s'
                    THEN interval '1 h' ELSE interval '1 min' END < CAST(:until AS timestamptz)
""")

# Deletes the idempotency keys of requests that made no job.
_FORGET_REQUESTS = text("""
DELETE FROM joined_requests
WHERE at < COALESCE(CAST(:now AS timestamptz), now()) - CAST(:retention AS float8) * interval '1 s'
""")

# The queues that keep their jobs for a time of their own.
_OWN = text("SELECT name, retention FROM queues WHERE retention IS NOT NULL ORDER BY name")


@dataclass(frozen=True)
class Rule:
    """Keep the finished jobs of ``queue``, or of all but ``others``, for ``seconds``."""

    seconds: float
    queue: str | None = None
    others: tuple[str, ...] = field(default=())


def rules(connection: Connection, retention: float) -> list[Rule]:
    """What there is to be kept for how long, where ``retention`` is for queues that have none of their own."""
    own: Mapping[str, float] = {row.name: row.retention for row in connection.execute(_OWN)}
    return [Rule(retention, others=tuple(own)), *(Rule(seconds, queue) for queue, seconds in own.items())]


def prune(
    connection: Connection,
    retention: float,
    *,
    limit: int,
    queue: str | None = None,
    others: Sequence[str] = (),
    since: datetime | None = None,
    now: datetime | None = None,
) -> int:
    """Delete up to ``limit`` jobs that finished over ``retention`` seconds ago, and not before ``since``; returns how
    many. Only those of ``queue``, or of all but ``others``."""
    values = {"retention": retention, "limit": limit, "queue": queue, "others": list(others), "since": since}
    return connection.execute(_PRUNE, values | {"now": now}).rowcount


def cutoff(connection: Connection, retention: float, *, now: datetime | None = None) -> datetime:
    """Until when finished jobs may be deleted by now."""
    found: datetime = connection.execute(_CUTOFF, {"retention": retention, "now": now}).scalar_one()
    return found


def forget_minutes(connection: Connection, retention: float, *, now: datetime | None = None) -> int:
    """Delete the counts per minute of jobs that have been pruned; the totals stay. Returns how many rows went."""
    limits = {"retention": retention, "fold_after": FOLD_AFTER, "now": now}
    return connection.execute(_FORGET_MINUTES, limits).rowcount


def forget_minutes_until(connection: Connection, rule: Rule, until: datetime, *, now: datetime | None = None) -> int:
    """The same for the queues of ``rule``, all of whose jobs that finished before ``until`` have been pruned."""
    values = {"queue": rule.queue, "others": list(rule.others), "until": until, "fold_after": FOLD_AFTER, "now": now}
    return connection.execute(_FORGET_MINUTES_UNTIL, values).rowcount


def forget_requests(connection: Connection, retention: float, *, now: datetime | None = None) -> int:
    """Delete the keys of requests that came to another's job over ``retention`` seconds ago; returns how many."""
    return connection.execute(_FORGET_REQUESTS, {"retention": retention, "now": now}).rowcount

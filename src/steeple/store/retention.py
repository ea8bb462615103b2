"""Deletes what has been kept long enough: finished jobs with their attempts and logs, and what was counted of them."""

from datetime import datetime

from sqlalchemy import Connection, text

from steeple.store.rollup import FOLD_AFTER

# Deletes the oldest finished jobs, by their time of finishing. One that has not been counted yet stays for now.
_PRUNE = text("""
WITH old AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE finished_at < (
        SELECT LEAST(at, COALESCE(CAST(:now AS timestamptz), now()) - CAST(:retention AS float8) * interval '1 s')
        FROM watermarks WHERE name = 'finished_minutes'
    )
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
DELETE FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM old))
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


def prune(connection: Connection, retention: float, *, limit: int, now: datetime | None = None) -> int:
    """Delete up to ``limit`` jobs that finished over ``retention`` seconds ago; returns how many."""
    return connection.execute(_PRUNE, {"retention": retention, "limit": limit, "now": now}).rowcount


def forget_minutes(connection: Connection, retention: float, *, now: datetime | None = None) -> int:
    """Delete the counts per minute of jobs that have been pruned; the totals stay. Returns how many rows went."""
    limits = {"retention": retention, "fold_after": FOLD_AFTER, "now": now}
    return connection.execute(_FORGET_MINUTES, limits).rowcount

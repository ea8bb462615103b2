"""Deletes what has been kept long enough: finished jobs with their attempts and logs, and what was counted of them."""

from datetime import datetime

from sqlalchemy import Connection, text

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

# Deletes the counts of minutes past, once no job of theirs is left.
_FORGET_MINUTES = text("""
DELETE FROM finished_minutes
WHERE minute < COALESCE(CAST(:now AS timestamptz), now())
             - (CAST(:retention AS float8) + 60) * interval '1 s'
  AND minute < COALESCE((SELECT min(finished_at) FROM jobs WHERE finished_at IS NOT NULL), 'infinity')
             - interval '1 min'
""")


def prune(connection: Connection, retention: float, *, limit: int, now: datetime | None = None) -> int:
    """Delete up to ``limit`` jobs that finished over ``retention`` seconds ago; returns how many."""
    return connection.execute(_PRUNE, {"retention": retention, "limit": limit, "now": now}).rowcount


def forget_minutes(connection: Connection, retention: float, *, now: datetime | None = None) -> int:
    """Delete the counts per minute of jobs that have been pruned; the totals stay. Returns how many rows went."""
    return connection.execute(_FORGET_MINUTES, {"retention": retention, "now": now}).rowcount

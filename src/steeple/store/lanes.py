"""Which lanes have work, for whoever sends wake-ups."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from steeple.domain.priority import Lane, Priority
from steeple.store.standing import ask

# Skips through the indexes of plain jobs and of those with rules from lane to lane; of each, counts what is due up to a
# bound and looks at what comes next. Lanes of paused queues have no work.
_DUE = text("""
WITH RECURSIVE clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now),
lane (queue, priority) AS (
    (SELECT queue, priority FROM jobs
     WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
     ORDER BY queue, priority LIMIT 1)
    UNION ALL
    SELECT following.queue, following.priority
    FROM lane CROSS JOIN LATERAL (
        SELECT queue, priority FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
          AND (queue, priority) > (lane.queue, lane.priority)
        ORDER BY queue, priority LIMIT 1
    ) AS following
),
ruled_lane (queue, priority) AS (
    (SELECT queue, priority FROM jobs
     WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
     ORDER BY queue, priority LIMIT 1)
    UNION ALL
    SELECT following.queue, following.priority
    FROM ruled_lane CROSS JOIN LATERAL (
        SELECT queue, priority FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
          AND (queue, priority) > (ruled_lane.queue, ruled_lane.priority)
        ORDER BY queue, priority LIMIT 1
    ) AS following
)
SELECT lane.queue, lane.priority, due.jobs,
       CAST(EXTRACT(epoch FROM upcoming.run_at - clock.now) AS float8) AS next_in
FROM clock, lane
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
          AND queue = lane.queue AND priority = lane.priority AND run_at <= clock.now
        LIMIT :enough
    ) AS first_few
) AS due
LEFT JOIN LATERAL (
    SELECT run_at FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
      AND queue = lane.queue AND priority = lane.priority AND run_at > clock.now
    ORDER BY run_at LIMIT 1
) AS upcoming ON true
WHERE lane.queue NOT IN (SELECT name FROM queues WHERE paused_at IS NOT NULL)
UNION ALL
SELECT ruled_lane.queue, ruled_lane.priority, due.jobs,
       CAST(EXTRACT(epoch FROM upcoming.run_at - clock.now) AS float8) AS next_in
FROM clock, ruled_lane
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
          AND queue = ruled_lane.queue AND priority = ruled_lane.priority AND run_at <= clock.now
        LIMIT :enough
    ) AS first_few
) AS due
LEFT JOIN LATERAL (
    SELECT run_at FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
      AND queue = ruled_lane.queue AND priority = ruled_lane.priority AND run_at > clock.now
    ORDER BY run_at LIMIT 1
) AS upcoming ON true
WHERE ruled_lane.queue NOT IN (SELECT name FROM queues WHERE paused_at IS NOT NULL)
""")

_ENOUGH = 256
"""No lane needs to be known to hold more due jobs than a fleet's lane has slots to wake."""


@dataclass(frozen=True)
class Work:
    """``due``: lanes with due jobs and how many, up to a bound. ``next_in``: seconds until the next falls due."""

    due: dict[Lane, int]
    next_in: float | None


def find_work(connection: Connection, *, now: datetime | None = None) -> Work:
    """Every lane's due jobs, and when the next pending job falls due; nothing of paused queues."""
    rows = ask(connection, _DUE, {"now": now, "enough": _ENOUGH})
    due: Counter[Lane] = Counter()
    for row in rows:
        if row.jobs:
            due[Lane(row.queue, Priority.from_rank(row.priority))] += row.jobs
    return Work(due, min((row.next_in for row in rows if row.next_in is not None), default=None))

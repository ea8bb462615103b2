"""What is in each queue, and how fast it moves."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, text

from steeple.domain.states import State
from steeple.domain.statistics import QueueStatistics

# Counts jobs per queue and state: active ones by their indexes, pending ones queue by queue, which spares comparing the
# names of a million; finished ones from the roll-up, and those that it has not come to yet by their time. Of a minute
# that began before the last 60 s, its share of them counts as recent.
_STATISTICS = text("""
WITH RECURSIVE clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now),
known (queue) AS (
    (SELECT queue FROM jobs WHERE state = 'PENDING' ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT following.queue
    FROM known CROSS JOIN LATERAL (
        SELECT queue FROM jobs WHERE state = 'PENDING' AND queue > known.queue ORDER BY queue LIMIT 1
    ) AS following
),
counted (queue, state, jobs, oldest, recent) AS (
    SELECT known.queue, CAST('PENDING' AS job_state), pending.jobs, LEAST(plain.oldest, ruled.oldest, held.oldest), 0
    FROM known CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM jobs WHERE state = 'PENDING' AND queue = known.queue
    ) AS pending
    CROSS JOIN LATERAL (
        SELECT min(run_at) AS oldest FROM unnest(CAST('{0,1,2}' AS smallint[])) AS lane (priority) CROSS JOIN LATERAL (
            SELECT run_at FROM jobs
            WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
              AND queue = known.queue AND priority = lane.priority ORDER BY run_at LIMIT 1
        ) AS first
    ) AS plain
    CROSS JOIN LATERAL (
        SELECT min(run_at) AS oldest FROM unnest(CAST('{0,1,2}' AS smallint[])) AS lane (priority) CROSS JOIN LATERAL (
            SELECT run_at FROM jobs
            WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
              AND queue = known.queue AND priority = lane.priority ORDER BY run_at LIMIT 1
        ) AS first
    ) AS ruled
    CROSS JOIN LATERAL (
        SELECT min(run_at) AS oldest FROM jobs
        WHERE state = 'PENDING' AND held_by IS NOT NULL AND held_by NOT IN ('unconfirmed', 'parents', 'parent failed')
          AND queue = known.queue
    ) AS held
    UNION ALL
    SELECT queue, CAST('RUNNING' AS job_state), count(*), NULL, 0 FROM jobs WHERE state = 'RUNNING' GROUP BY queue
    UNION ALL
    SELECT queue, state, sum(jobs), NULL,
           sum(jobs * LEAST(1.0, EXTRACT(epoch FROM minute - clock.now) / 60 + 2))
               FILTER (WHERE minute > clock.now - interval '2 min')
    FROM finished_minutes, clock GROUP BY queue, state
    UNION ALL
    SELECT queue, state, count(*), NULL, count(*) FILTER (WHERE finished_at > clock.now - interval '1 min')
    FROM jobs, clock
    WHERE finished_at > (SELECT at FROM watermarks WHERE name = 'finished_minutes')
      AND finished_at < (SELECT now + interval '1 d' FROM clock)
    GROUP BY queue, state
    UNION ALL
    SELECT queue, CAST('PENDING' AS job_state), 0, NULL, 0 FROM tasks
    UNION ALL
    SELECT name, CAST('PENDING' AS job_state), 0, NULL, 0 FROM queues
)
SELECT queue, state, CAST(sum(jobs) AS bigint) AS jobs, CAST(COALESCE(sum(recent), 0) AS float8) AS recent,
       queue IN (SELECT name FROM queues WHERE paused_at IS NOT NULL) AS is_paused,
       CAST(EXTRACT(epoch FROM max(clock.now) - min(oldest)) AS float8) AS overdue
FROM counted, clock GROUP BY queue, state ORDER BY queue
""")


def queue_statistics(connection: Connection, *, now: datetime | None = None) -> list[QueueStatistics]:
    """Every queue that has jobs, is some task's or has settings, by name. Finished jobs count until they are pruned."""
    rows = connection.execute(_STATISTICS, {"now": now}).all()
    return [_statistics(queue, group) for queue, group in groupby(rows, key=lambda row: str(row.queue))]


def _statistics(queue: str, group: Iterable[Row[Any]]) -> QueueStatistics:
    rows = {State(row.state): row for row in group}
    overdue = rows[State.PENDING].overdue if State.PENDING in rows else None
    return QueueStatistics(
        name=queue,
        counts={state: rows[state].jobs if state in rows else 0 for state in State},
        oldest_wait=overdue if overdue is not None and overdue >= 0 else None,
        throughput=sum(row.recent for row in rows.values()) / 60,
        paused=any(row.is_paused for row in rows.values()),
    )

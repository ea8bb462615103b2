"""Reads what the metrics show, in a few statements that stay quick however many jobs have finished."""

from typing import Any

from sqlalchemy import Connection, Row, text

from steeple.domain.histogram import Histogram
from steeple.domain.states import State
from steeple.domain.statistics import FinishedTotal, JobCount, MetricsSnapshot
from steeple.store import counters
from steeple.store.queues import queue_statistics

# Jobs per queue, task and state; as in queue_statistics, those that finished come from the roll-up and what it lacks.
_TASKS = text("""
WITH counted (queue, task, state, jobs) AS (
    SELECT queue, task, CAST('PENDING' AS job_state), count(*) FROM jobs
    WHERE state = 'PENDING' AND CAST(:with_pending AS boolean)
    GROUP BY queue, task
    UNION ALL
    SELECT queue, task, CAST('RUNNING' AS job_state), count(*) FROM jobs WHERE state = 'RUNNING' GROUP BY queue, task
    UNION ALL
    SELECT queue, task, state, sum(jobs) FROM finished_minutes GROUP BY queue, task, state
    UNION ALL
    SELECT queue, task, state, count(*) FROM jobs
    WHERE finished_at > (SELECT at FROM watermarks WHERE name = 'finished_minutes')
      AND finished_at < (SELECT now() + interval '1 d')
    GROUP BY queue, task, state
)
SELECT queue, task, state, CAST(sum(jobs) AS bigint) AS jobs FROM counted GROUP BY queue, task, state
ORDER BY queue, task, state
""")

_MOST_PENDING = 100_000
"""No index has the task of pending jobs: more of them are not counted per task, as each would have to be read."""

# What has finished since the beginning, as the roll-up counted it.
_FINISHED = text("""
SELECT queue, task, state, jobs, run_seconds, wait_seconds, run_buckets, wait_buckets FROM finished_totals
ORDER BY queue, task, state
""")

# Live workers and their slots.
_FLEET = text("""
SELECT count(*) AS workers, COALESCE(sum(slots), 0) AS slots FROM workers
WHERE ended_at IS NULL AND heartbeat_at >= now() - CAST(:dead_after AS float8) * interval '1 s'
""")


def read_metrics(connection: Connection, dead_after: float) -> MetricsSnapshot:
    """Everything that the metrics show; workers that were silent for ``dead_after`` seconds do not count."""
    queues = tuple(queue_statistics(connection))
    pending = sum(queue.counts[State.PENDING] for queue in queues)
    tasks = connection.execute(_TASKS, {"with_pending": pending <= _MOST_PENDING})
    fleet = connection.execute(_FLEET, {"dead_after": dead_after}).one()
    return MetricsSnapshot(
        queues=queues,
        tasks=tuple(JobCount(row.queue, row.task, State(row.state), row.jobs) for row in tasks if row.jobs),
        finished=tuple(_finished(row) for row in connection.execute(_FINISHED)),
        workers=fleet.workers,
        slots=fleet.slots,
        counters=counters.totals(connection),
    )


def _finished(row: Row[Any]) -> FinishedTotal:
    return FinishedTotal(
        queue=row.queue,
        task=row.task,
        state=State(row.state),
        jobs=row.jobs,
        run=Histogram(tuple(row.run_buckets), row.run_seconds),
        wait=Histogram(tuple(row.wait_buckets), row.wait_seconds),
    )

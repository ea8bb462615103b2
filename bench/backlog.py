"""Fills Steeple's tables by SQL: jobs that are due, jobs that are not yet, and a week of history with its counts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from bench.arena import Arena
from steeple.domain.histogram import BOUNDS, BUCKETS
from steeple.store.rollup import FOLD_AFTER

_AT_ONCE = 250_000

# No-op jobs that are due, the oldest for an hour, in queues and priorities as they come; ids are in order of creation.
# Their numbers begin again after as many as there are places.
_DUE = """
INSERT INTO jobs (id, task, queue, priority, run_at, created_at, timeout, max_attempts, args)
SELECT uuidv7(made - clock_timestamp()), 'noop',
       CASE lane WHEN 0 THEN 'default' ELSE 'queue-' || lane END, CASE WHEN random() < 0.8 THEN 1 ELSE 2 * (n %% 2) END,
       made, made, 3600, 3, json_build_object('number', n %% %(places)s)
FROM (
    SELECT n, now() - interval '1 h' * (1 - n / %(total)s::float8) AS made, floor(8 * random() ^ 3)::int AS lane
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
) AS job ORDER BY n
"""

# Jobs for the week to come, made in the one past.
_FUTURE = """
INSERT INTO jobs (id, task, queue, priority, run_at, created_at, timeout, max_attempts, args)
SELECT uuidv7(made - clock_timestamp()), 'task-' || n %% 20, 'queue-' || n %% 8, 1,
       now() + interval '1 h' + interval '7 d' * random(), made, 3600, 3, json_build_object('number', 0)
FROM (
    SELECT n, now() - interval '1 h' - interval '6 d' * (1 - n / %(total)s::float8) AS made
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
) AS job ORDER BY n
"""

# Finished jobs, the last some time ago: 95 in 100 well, a quarter with tags. Tasks have their queue.
_FINISHED = """
INSERT INTO jobs (id, state, fence, task, queue, priority, run_at, created_at, started_at, finished_at, timeout,
                  attempt, max_attempts, slot, worker_id, tags, args, result, error)
SELECT uuidv7(made - clock_timestamp()),
       (CASE WHEN fate < 0.95 THEN 'SUCCESS' WHEN fate < 0.98 THEN 'FAILED' ELSE 'CANCELLED' END)::job_state,
       1, 'task-' || kind, CASE kind %% 8 WHEN 0 THEN 'default' ELSE 'queue-' || kind %% 8 END,
       CASE WHEN random() < 0.8 THEN 1 ELSE 2 * (n %% 2) END,
       made, made, made + waited, made + waited + ran, 3600, 1, 3, n %% 2, '00000000-0000-0000-0000-000000000001',
       CASE WHEN random() > 0.25 THEN '{}'
            WHEN n %% 5 = 0 THEN ARRAY['customer-' || floor(1000 * random()), 'nightly']
            ELSE ARRAY['customer-' || floor(1000 * random())] END,
       json_build_object('number', n, 'path', '/reports/' || md5(n::text), 'copies', 1 + n %% 7),
       CASE WHEN fate < 0.95 THEN json_build_object('rows', n %% 1000, 'checksum', md5((2 * n)::text)) END,
       CASE WHEN fate >= 0.95 AND fate < 0.98 THEN json_build_object(
           'type', 'ValueError', 'message', 'no such report: ' || n, 'reason', 'exception',
           'traceback', 'Traceback (most recent call last): ' || repeat('in render ', 60)) END
FROM (
    SELECT n, random() AS fate, floor(20 * random() ^ 2)::int AS kind,
           now() - interval '1 s' * (%(ago)s + %(span)s * (1 - n / %(total)s::float8)) AS made,
           interval '1 s' * %(wait)s * random() AS waited, interval '1 s' * %(run)s * random() ^ 4 AS ran
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
) AS job ORDER BY n
"""

# What was noted of the attempts of those that failed.
_ATTEMPTS = """
INSERT INTO attempts (job_id, fence, attempt, state, worker_id, started_at, finished_at, error)
SELECT id, fence, attempt, state, worker_id, started_at, finished_at, error FROM jobs WHERE state = 'FAILED'
"""


def _per_bucket(bucket: str) -> str:
    """SQL for the counts of a histogram's buckets."""
    return "ARRAY[" + ", ".join(f"count(*) FILTER (WHERE {bucket} = {each})" for each in range(BUCKETS)) + "]"


_COUNTS = f"""
       count(*), sum(run), sum(wait), {_per_bucket("run_bucket")}, {_per_bucket("wait_bucket")}
FROM (
    SELECT finished_at, queue, task, state, run, wait,
           width_bucket(run, %(bounds)s::float8[]) AS run_bucket,
           width_bucket(wait, %(bounds)s::float8[]) AS wait_bucket
    FROM jobs CROSS JOIN LATERAL (
        SELECT EXTRACT(epoch FROM finished_at - started_at)::float8 AS run,
               EXTRACT(epoch FROM started_at - run_at)::float8 AS wait
    ) AS duration WHERE finished_at IS NOT NULL
) AS finished
"""

# What schedulers would have counted by now, minutes of long ago by their hours: what they do slice by slice, at once.
_COUNT_MINUTES = f"""
INSERT INTO finished_minutes (queue, task, state, minute, jobs, run_seconds, wait_seconds, run_buckets, wait_buckets)
SELECT queue, task, state,
       CASE WHEN finished_at < now() - %(fold_after)s * interval '1 s' THEN date_trunc('hour', finished_at, 'UTC')
            ELSE date_trunc('minute', finished_at, 'UTC') END AS minute, {_COUNTS}
GROUP BY queue, task, state, minute
"""
_COUNT_TOTALS = f"""
INSERT INTO finished_totals (queue, task, state, jobs, run_seconds, wait_seconds, run_buckets, wait_buckets)
SELECT queue, task, state, {_COUNTS} GROUP BY queue, task, state
"""
_ADVANCE = "UPDATE watermarks SET at = (SELECT max(finished_at) FROM jobs) WHERE name = 'finished_minutes'"


@dataclass(frozen=True)
class Times:
    """Of finished jobs, in seconds: made over ``span`` until ``ago``, waited and ran for so long at the most."""

    span: float
    ago: float
    wait: float
    run: float


_WEEK = Times(span=6 * 86400 + 20 * 3600, ago=3720, wait=1, run=60)
"""Not quite, so that none is pruned meanwhile."""


def add_due(arena: Arena, jobs: int, places: int | None = None) -> None:
    """Jobs with numbers from 0 on, in the order in which they are due; below ``places``, if given."""
    _insert(arena, _DUE, jobs, {"places": places or jobs})


def add_history(arena: Arena, finished: int, future: int) -> None:
    """A week of it, into a database without any, and counted as the schedulers would have by now."""
    add_finished(arena, finished, _WEEK)
    _insert(arena, _FUTURE, future, {})
    with arena.connect() as connection:
        connection.execute(_ATTEMPTS)
        connection.execute("VACUUM ANALYZE")
    _count(arena)


def add_finished(arena: Arena, jobs: int, times: Times) -> None:
    _insert(arena, _FINISHED, jobs, asdict(times))


def _insert(arena: Arena, statement: str, jobs: int, values: Mapping[str, float]) -> None:
    with arena.connect() as connection:
        for first in range(0, jobs, _AT_ONCE):
            last = min(first + _AT_ONCE, jobs) - 1
            connection.execute(statement, {"first": first, "last": last, "total": jobs} | dict(values))


def _count(arena: Arena) -> None:
    with arena.connect() as connection:
        for statement in (_COUNT_MINUTES, _COUNT_TOTALS):
            connection.execute(statement, {"bounds": list(BOUNDS), "fold_after": FOLD_AFTER})
        connection.execute(_ADVANCE)

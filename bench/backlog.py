"""Fills Steeple's tables by SQL: jobs that are due, jobs that are not yet, and a week of history with its counts."""

from bench.arena import Arena
from steeple.settings import Settings
from steeple.store import rollup
from steeple.store.engine import create_engine, in_transaction

_AT_ONCE = 250_000

# No-op jobs that are due, the oldest for an hour, in queues and priorities as they come; ids are in order of creation.
_DUE = """
INSERT INTO jobs (id, task, queue, priority, run_at, created_at, timeout, max_attempts, args)
SELECT uuidv7(made - clock_timestamp()), 'noop',
       CASE lane WHEN 0 THEN 'default' ELSE 'queue-' || lane END, CASE WHEN random() < 0.8 THEN 1 ELSE 2 * (n %% 2) END,
       made, made, 3600, 3, json_build_object('number', n)
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

# Finished jobs over nearly a week, so that none is pruned meanwhile: 95 in 100 well, a quarter with tags.
_FINISHED = """
INSERT INTO jobs (id, state, fence, task, queue, priority, run_at, created_at, started_at, finished_at, timeout,
                  attempt, max_attempts, slot, worker_id, tags, args, result, error)
SELECT uuidv7(made - clock_timestamp()),
       (CASE WHEN fate < 0.95 THEN 'SUCCESS' WHEN fate < 0.98 THEN 'FAILED' ELSE 'CANCELLED' END)::job_state,
       1, 'task-' || floor(20 * random() ^ 2),
       CASE lane WHEN 0 THEN 'default' ELSE 'queue-' || lane END, CASE WHEN random() < 0.8 THEN 1 ELSE 2 * (n %% 2) END,
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
    SELECT n, random() AS fate, floor(8 * random() ^ 3)::int AS lane,
           now() - interval '1 h 2 min' - interval '6 d 20 h' * (1 - n / %(total)s::float8) AS made,
           interval '1 s' * random() AS waited, interval '60 s' * random() ^ 4 AS ran
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
) AS job ORDER BY n
"""

# What was noted of the attempts of those that failed.
_ATTEMPTS = """
INSERT INTO attempts (job_id, fence, attempt, state, worker_id, started_at, finished_at, error)
SELECT id, fence, attempt, state, worker_id, started_at, finished_at, error FROM jobs WHERE state = 'FAILED'
"""


def add_due(arena: Arena, jobs: int) -> None:
    """Jobs whose numbers are 0 to ``jobs`` - 1, in the order in which they are due."""
    _insert(arena, _DUE, jobs)


def add_history(arena: Arena, finished: int, future: int) -> None:
    """Into a database without any, and count it as the schedulers would have by now."""
    _insert(arena, _FINISHED, finished)
    _insert(arena, _FUTURE, future)
    with arena.connect() as connection:
        connection.execute(_ATTEMPTS)
        connection.execute("VACUUM ANALYZE")
    _count(arena)


def _insert(arena: Arena, statement: str, jobs: int) -> None:
    with arena.connect() as connection:
        for first in range(0, jobs, _AT_ONCE):
            last = min(first + _AT_ONCE, jobs) - 1
            connection.execute(statement, {"first": first, "last": last, "total": jobs})


def _count(arena: Arena) -> None:
    engine = create_engine(Settings(database_url=arena.database), size=1)
    try:
        while in_transaction(engine, rollup.roll_up).is_behind:
            pass
        while in_transaction(engine, rollup.fold):
            pass
    finally:
        engine.dispose()

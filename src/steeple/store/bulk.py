"""Every way in which an operation changes jobs, many at once. The jobs are held by whoever calls."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from steeple.domain.operation import Action, Batch, HeldJob, Order, Skip, Skipped, obstacle
from steeple.domain.states import TERMINAL
from steeple.store.inbox_conflicts import let_go
from steeple.store.rollup import see_off

# Cancels pending jobs at once; of running ones only the wish is noted, for their workers to act on.
_CANCEL = text("""
UPDATE jobs SET
    state = CASE WHEN state = 'PENDING' THEN 'CANCELLED' ELSE state END,
    fence = fence + CASE WHEN state = 'PENDING' THEN 1 ELSE 0 END,
    finished_at = CASE WHEN state = 'PENDING' THEN COALESCE(CAST(:now AS timestamptz), now()) END,
    cancel_requested_at = COALESCE(cancel_requested_at, CAST(:now AS timestamptz), now()), held_by = NULL
WHERE id = ANY (CAST(:ids AS uuid[])) AND state IN ('PENDING', 'RUNNING')
""")

# Starts jobs that have ended anew, with all their attempts; a success is put down as a past attempt first. They take
# their unique keys once more, unless their time with them is over.
_RETRY = text("""
WITH ended AS MATERIALIZED (
    SELECT id, fence, attempt, state, worker_id, started_at, finished_at, stop FROM jobs
    WHERE id = ANY (CAST(:ids AS uuid[])) AND state IN ('SUCCESS', 'FAILED', 'CANCELLED')
),
kept AS (
    INSERT INTO attempts (job_id, fence, attempt, state, worker_id, started_at, finished_at, stop)
    SELECT id, fence, attempt, state, worker_id, started_at, finished_at, stop FROM ended WHERE state = 'SUCCESS'
)
UPDATE jobs SET
    state = 'PENDING', fence = jobs.fence + 1, attempt = 0, crashes = 0,
    run_at = COALESCE(CAST(:now AS timestamptz), now()),
    expires_at = NULL, started_at = NULL, finished_at = NULL, cancel_requested_at = NULL,
    worker_id = NULL, slot = NULL, progress = NULL, result = NULL, error = NULL, stop = NULL, held_by = NULL,
    unique_released_at = CASE WHEN jobs.unique_until <= COALESCE(CAST(:now AS timestamptz), now())
                              THEN COALESCE(jobs.unique_released_at, CAST(:now AS timestamptz), now()) END
FROM ended WHERE jobs.id = ended.id
""")

# Deletes jobs that do not run; their attempts and log lines go with them.
_DELETE = text("DELETE FROM jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND state <> 'RUNNING'")

# Settles those that wait for pending jobs which are about to end: all at once, so that no trigger has to for each.
_END_PARENTS = text("""
SELECT steeple_end_parents(array_agg(id), array_agg(CAST('CANCELLED' AS job_state)))
FROM jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND has_children AND state = 'PENDING' HAVING count(*) > 0
""")

# Gives pending jobs another priority.
_REPRIORITISE = text("""
UPDATE jobs SET priority = CAST(:priority AS smallint)
WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'PENDING'
""")

# Moves pending jobs to another queue.
_MOVE = text("""
UPDATE jobs SET queue = CAST(:queue AS text) WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'PENDING'
""")

# The jobs that hold unique keys, and whether their time with them is over.
_HOLDERS = text("""
SELECT unique_key, id, COALESCE(unique_until <= COALESCE(CAST(:now AS timestamptz), now()), false) AS is_over
FROM jobs
WHERE unique_key = ANY (CAST(:keys AS text[])) AND unique_key IS NOT NULL AND unique_released_at IS NULL
  AND state = ANY (COALESCE(unique_states, CAST('{PENDING,RUNNING}' AS job_state[])))
""")

_UNIQUE_VIOLATION = "23505"

_LOOKS = 3
"""At whether keys are free. Each fails only if one was taken after it."""


def act(
    connection: Connection, order: Order, jobs: Sequence[HeldJob], made_at: datetime, *, now: datetime | None = None
) -> Batch:
    """Do to each of the jobs what the order says, where that can be done. ``made_at``: when the order was given."""
    obstacles = {job.id: obstacle(order.action, job, made_at) for job in jobs}
    skipped = [Skipped(job_id, why) for job_id, why in obstacles.items() if why is not None]
    open_to_it = [job for job in jobs if obstacles[job.id] is None]
    if not open_to_it:
        return Batch(0, tuple(skipped))
    if order.action is Action.RETRY:
        retried = _retry_all(connection, open_to_it, now)
        return Batch(retried.done, (*skipped, *retried.skipped))
    _change(connection, order, open_to_it, now)
    return Batch(len(open_to_it), tuple(skipped))


def _change(connection: Connection, order: Order, jobs: Sequence[HeldJob], now: datetime | None) -> None:
    ids = [job.id for job in jobs]
    match order.action:
        case Action.CANCEL:
            connection.execute(_END_PARENTS, {"ids": ids})
            connection.execute(_CANCEL, {"ids": ids, "now": now})
        case Action.DELETE:
            see_off(connection, [job.id for job in jobs if job.state in TERMINAL])
            connection.execute(_END_PARENTS, {"ids": ids})
            connection.execute(_DELETE, {"ids": ids})
        case Action.REPRIORITISE:
            assert order.priority is not None
            connection.execute(_REPRIORITISE, {"ids": ids, "priority": order.priority.rank})
        case Action.MOVE:
            connection.execute(_MOVE, {"ids": ids, "queue": order.queue})


def _retry_all(connection: Connection, jobs: Sequence[HeldJob], now: datetime | None) -> Batch:
    """Of jobs with the same unique key one is started.

    Where somebody takes a key meanwhile, that is looked at again; where that goes on, jobs are started one by one.
    """
    for _ in range(_LOOKS):
        free, skipped = _with_free_keys(connection, jobs, now)
        if _retry(connection, free, now):
            return Batch(len(free), skipped)
    alone = [_retry_alone(connection, job, now) for job in jobs]
    return Batch(alone.count(None), tuple(each for each in alone if each is not None))


def _with_free_keys(
    connection: Connection, jobs: Sequence[HeldJob], now: datetime | None
) -> tuple[Sequence[HeldJob], tuple[Skipped, ...]]:
    """The jobs that may be started, and the others."""
    holders = _holders(connection, jobs, now)
    free, skipped = [], []
    for job in jobs:
        holder = None if job.unique_key is None else holders.setdefault(job.unique_key, job.id)
        if holder is None or holder == job.id:
            free.append(job)
        else:
            skipped.append(Skipped(job.id, Skip.KEY_HELD, holder))
    return free, tuple(skipped)


def _retry_alone(connection: Connection, job: HeldJob, now: datetime | None) -> Skipped | None:
    if _retry(connection, [job], now):
        return None
    return Skipped(job.id, Skip.KEY_HELD, _holders(connection, [job], now).get(job.unique_key or ""))


def _retry(connection: Connection, jobs: Iterable[HeldJob], now: datetime | None) -> bool:
    """False, and nothing is done, if one of them has a unique key that is held."""
    ids = [job.id for job in jobs]
    try:
        with connection.begin_nested():
            see_off(connection, ids)
            connection.execute(_RETRY, {"ids": ids, "now": now})
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
            raise
        return False
    return True


def _holders(connection: Connection, jobs: Iterable[HeldJob], now: datetime | None) -> dict[str, UUID]:
    """Who holds the keys. Those whose time with them is over let go."""
    keys = [job.unique_key for job in jobs if job.unique_key is not None]
    rows = connection.execute(_HOLDERS, {"keys": keys, "now": now}).all() if keys else []
    if over := [row.id for row in rows if row.is_over]:
        let_go(connection, over, now)
    return {row.unique_key: row.id for row in rows if not row.is_over}

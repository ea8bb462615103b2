"""Every way a job changes state other than by the exchange: cancel, explicit retry, release, rescue, expire, edit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from steeple.domain.job import Claim
from steeple.domain.priority import Lane, Priority
from steeple.domain.retry import CRASH_CAP
from steeple.errors import FieldError, InvalidJob, JobNotFound, StateConflict, SteepleError, UniqueKeyHeld
from steeple.store.inbox_conflicts import let_go

# Cancels a pending job at once; of a running one only the wish is noted, for its worker to act on.
_CANCEL = text("""
UPDATE jobs SET
    state = CASE WHEN state = 'PENDING' THEN 'CANCELLED' ELSE state END,
    fence = fence + CASE WHEN state = 'PENDING' THEN 1 ELSE 0 END,
    finished_at = CASE WHEN state = 'PENDING' THEN COALESCE(CAST(:now AS timestamptz), now()) END,
    cancel_requested_at = COALESCE(cancel_requested_at, CAST(:now AS timestamptz), now()), held_by = NULL
WHERE id = :id AND state IN ('PENDING', 'RUNNING')
RETURNING id
""")

# Starts a finished job anew, with all its attempts; a success is put down as a past attempt first. Where the roll-up
# counted it among the finished that are there, in its minute or by now in its hour, it no longer is. It takes its
# unique key once more, unless its time with that is over: the only transition that can meet another holder.
_RETRY = text("""
WITH ended AS MATERIALIZED (
    SELECT * FROM jobs WHERE id = :id AND state IN ('SUCCESS', 'FAILED', 'CANCELLED') FOR UPDATE
),
kept AS (
    INSERT INTO attempts (job_id, fence, attempt, state, worker_id, started_at, finished_at, stop)
    SELECT id, fence, attempt, state, worker_id, started_at, finished_at, stop FROM ended WHERE state = 'SUCCESS'
),
uncounted AS (
    UPDATE finished_minutes AS counted SET jobs = counted.jobs - 1
    FROM ended, watermarks
    WHERE watermarks.name = 'finished_minutes' AND ended.finished_at <= watermarks.at
      AND (counted.queue, counted.task, counted.state) = (ended.queue, ended.task, ended.state)
      AND counted.minute = (
          SELECT max(minute) FROM finished_minutes AS known
          WHERE (known.queue, known.task, known.state) = (ended.queue, ended.task, ended.state)
            AND minute IN (date_trunc('minute', ended.finished_at, 'UTC'), date_trunc('hour', ended.finished_at, 'UTC'))
      )
)
UPDATE jobs SET
    state = 'PENDING', fence = jobs.fence + 1, attempt = 0, crashes = 0,
    run_at = COALESCE(CAST(:now AS timestamptz), now()),
    expires_at = NULL, started_at = NULL, finished_at = NULL, cancel_requested_at = NULL,
    worker_id = NULL, slot = NULL, progress = NULL, result = NULL, error = NULL, stop = NULL, held_by = NULL,
    unique_released_at = CASE WHEN jobs.unique_until <= COALESCE(CAST(:now AS timestamptz), now())
                              THEN COALESCE(jobs.unique_released_at, CAST(:now AS timestamptz), now()) END
FROM ended WHERE jobs.id = ended.id
RETURNING jobs.queue, jobs.priority
""")

# Lets a job run that is held since a parent of it ended without success.
_RUN_ANYWAY = text("""
UPDATE jobs SET held_by = NULL, run_at = GREATEST(run_at, COALESCE(CAST(:now AS timestamptz), now()))
WHERE id = :id AND state = 'PENDING' AND held_by = 'parent failed'
RETURNING queue, priority
""")

# What tells whether an explicit retry has been done, and the job's lane. Locked, so that it is still so when it is.
_FENCE = text("""
SELECT fence, state IN ('SUCCESS', 'FAILED', 'CANCELLED') AS has_ended, queue, priority
FROM jobs WHERE id = :id FOR UPDATE
""")

# Gives claims back that nobody has started, or that a shutdown cut short; the attempt is not counted.
_RELEASE = text("""
WITH claim AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[])) AS claim (id, fence)
),
held AS MATERIALIZED (
    SELECT jobs.id, jobs.limits, jobs.queue, has_children AND cancel_requested_at IS NOT NULL AS ends_as_parent
    FROM jobs JOIN claim ON claim.id = jobs.id AND claim.fence = jobs.fence
    WHERE jobs.state = 'RUNNING' ORDER BY jobs.id FOR UPDATE OF jobs
),
locked AS MATERIALIZED (
    SELECT count(pg_advisory_xact_lock(hashtextextended(key, 0))) FROM (
        SELECT DISTINCT key COLLATE "C" AS key FROM held CROSS JOIN LATERAL unnest(limits) AS key ORDER BY 1
    ) AS key
),
brood AS MATERIALIZED (
    SELECT steeple_end_parents(array_agg(id), array_agg(CAST('CANCELLED' AS job_state)))
    FROM held, locked WHERE ends_as_parent HAVING count(*) > 0
),
gone AS MATERIALIZED (
    SELECT key, count(*) AS jobs FROM held CROSS JOIN LATERAL unnest(limits || ('*queue:' || queue)) AS key
    GROUP BY key
),
bucket AS MATERIALIZED (
    SELECT key, gone.jobs FROM limit_tokens JOIN gone USING (key), locked ORDER BY key FOR UPDATE OF limit_tokens
),
refunded AS (
    UPDATE limit_tokens SET tokens = tokens + bucket.jobs FROM bucket WHERE limit_tokens.key = bucket.key
)
UPDATE jobs SET
    state = CAST(CASE WHEN cancel_requested_at IS NULL THEN 'PENDING' ELSE 'CANCELLED' END AS job_state),
    finished_at = CASE WHEN cancel_requested_at IS NULL THEN NULL ELSE now() END,
    fence = jobs.fence + 1, attempt = attempt - 1,
    run_at = CASE WHEN CAST(:delay AS float8) > 0 THEN now() + CAST(:delay AS float8) * interval '1 s' ELSE run_at END,
    started_at = NULL, worker_id = NULL, slot = NULL, progress = NULL
FROM held, claim, locked
WHERE jobs.id = held.id AND claim.id = held.id AND jobs.fence = claim.fence AND jobs.state = 'RUNNING'
  AND (SELECT count(*) FROM brood) < 2
RETURNING jobs.id
""")

# Takes jobs from a slot or worker that died under them, and counts the crash.
_RESCUE = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now),
claim AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[])) AS claim (id, fence)
),
held AS MATERIALIZED (
    SELECT jobs.id, jobs.fence, jobs.attempt, jobs.worker_id, jobs.started_at, jobs.stop, jobs.limits, has_children,
           CASE WHEN cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                WHEN crashes + 1 >= :crash_cap OR attempt >= max_attempts THEN 'FAILED'
                ELSE 'PENDING' END AS target,
           json_build_object('type', 'Crash', 'message', CAST(:message AS text), 'traceback', NULL,
                             'reason', 'crash') AS error
    FROM jobs JOIN claim ON claim.id = jobs.id AND claim.fence = jobs.fence
    WHERE jobs.state = 'RUNNING' ORDER BY jobs.id FOR UPDATE OF jobs
),
recorded AS (
    INSERT INTO attempts (job_id, fence, attempt, state, worker_id, started_at, finished_at, error, stop)
    SELECT id, fence, attempt, CAST(CASE WHEN target = 'CANCELLED' THEN 'CANCELLED' ELSE 'FAILED' END AS job_state),
           worker_id, started_at, clock.now, error, stop
    FROM held, clock
),
locked AS MATERIALIZED (
    SELECT count(pg_advisory_xact_lock(hashtextextended(key, 0))) FROM (
        SELECT DISTINCT key COLLATE "C" AS key FROM held CROSS JOIN LATERAL unnest(limits) AS key ORDER BY 1
    ) AS key
),
brood AS MATERIALIZED (
    SELECT steeple_end_parents(array_agg(id), array_agg(CAST(target AS job_state)))
    FROM held, locked WHERE has_children AND target <> 'PENDING' HAVING count(*) > 0
)
UPDATE jobs SET
    state = CAST(held.target AS job_state), fence = jobs.fence + 1, crashes = LEAST(crashes + 1, :crash_cap),
    error = CASE WHEN held.target = 'CANCELLED' THEN NULL ELSE held.error END,
    finished_at = CASE WHEN held.target = 'PENDING' THEN NULL ELSE clock.now END
FROM held, clock, locked
WHERE jobs.id = held.id AND jobs.fence = held.fence AND jobs.state = 'RUNNING' AND (SELECT count(*) FROM brood) < 2
RETURNING jobs.id, jobs.state, jobs.queue, jobs.priority
""")

# The jobs that a slot holds by the database's account.
_HELD_BY_SLOT = text("""
SELECT id, fence FROM jobs WHERE state = 'RUNNING' AND worker_id = :worker_id AND slot = :slot ORDER BY id
""")

# Fails pending jobs whose time to start has passed.
_EXPIRE = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now),
late AS MATERIALIZED (
    SELECT id FROM jobs, clock WHERE state = 'PENDING' AND expires_at <= clock.now
    ORDER BY expires_at LIMIT :limit FOR UPDATE OF jobs SKIP LOCKED
)
UPDATE jobs SET state = 'FAILED', fence = fence + 1, finished_at = clock.now, held_by = NULL,
    error = json_build_object('type', 'Expired', 'message', 'not started by its expires_at', 'traceback', NULL,
                              'reason', 'expired')
FROM clock WHERE id IN (SELECT id FROM late)
RETURNING jobs.id
""")

# Changes what may be changed of a pending job; null leaves a field as it is.
_EDIT = text("""
UPDATE jobs SET
    priority = COALESCE(CAST(:priority AS smallint), priority),
    queue = COALESCE(CAST(:queue AS text), queue),
    run_at = COALESCE(CAST(:run_at AS timestamptz), run_at),
    max_attempts = COALESCE(CAST(:max_attempts AS integer), max_attempts)
WHERE id = :id AND state = 'PENDING' AND attempt < COALESCE(CAST(:max_attempts AS integer), max_attempts)
RETURNING queue, priority
""")

# The job that holds the unique key of another one.
_RIVAL = text("""
SELECT rival.id, rival.unique_key,
       COALESCE(rival.unique_until <= COALESCE(CAST(:now AS timestamptz), now()), false) AS is_over
FROM jobs JOIN jobs AS rival ON rival.unique_key = jobs.unique_key
WHERE jobs.id = :id AND rival.id <> jobs.id AND rival.unique_key IS NOT NULL AND rival.unique_released_at IS NULL
  AND rival.state = ANY (COALESCE(rival.unique_states, CAST('{PENDING,RUNNING}' AS job_state[])))
""")

# Why nothing was changed: there is no such job, or its state forbids it.
_STATE = text("SELECT state, attempt FROM jobs WHERE id = :id")


@dataclass(frozen=True)
class Edit:
    """New values for a pending job; None leaves one as it is."""

    priority: Priority | None = None
    queue: str | None = None
    run_at: datetime | None = None
    max_attempts: int | None = None


def cancel(connection: Connection, job_id: UUID, *, now: datetime | None = None) -> None:
    """Cancel a job, or ask for it if it runs. Raises ``JobNotFound``, ``StateConflict`` if it has ended."""
    if connection.execute(_CANCEL, {"id": job_id, "now": now}).first() is None:
        raise _refusal(connection, job_id, "cancel")


def retry(connection: Connection, job_id: UUID, *, now: datetime | None = None) -> Lane:
    """Start an ended job anew, or one that is held since a parent of it failed; returns its lane.

    Raises ``JobNotFound``, ``StateConflict`` if it has not ended, ``UniqueKeyHeld`` if another job has its key by now.
    """
    try:
        with connection.begin_nested():
            row = connection.execute(_RETRY, {"id": job_id, "now": now}).first()
            row = row or connection.execute(_RUN_ANYWAY, {"id": job_id, "now": now}).first()
    except IntegrityError as error:
        rival = connection.execute(_RIVAL, {"id": job_id, "now": now}).first()
        if rival is not None and rival.is_over:
            let_go(connection, [rival.id], now)
        if rival is None or rival.is_over:  # it has just ended, or its time with the key
            return retry(connection, job_id, now=now)
        raise UniqueKeyHeld(rival.unique_key, str(rival.id)) from error
    if row is None:
        raise _refusal(connection, job_id, "retry")
    return Lane(row.queue, Priority.from_rank(row.priority))


def retry_once(job_id: UUID) -> Callable[[Connection], Lane]:
    """``retry``, for a caller that does it again when it cannot tell whether it was done: by the fence, this can, since
    nothing else raises that of a job that has ended."""
    seen: int | None = None

    def act(connection: Connection) -> Lane:
        nonlocal seen
        job = connection.execute(_FENCE, {"id": job_id}).first()
        if job is None or seen in (None, job.fence):
            seen = job.fence if job is not None and job.has_ended else None
            return retry(connection, job_id)
        return Lane(job.queue, Priority.from_rank(job.priority))

    return act


def edit(connection: Connection, job_id: UUID, change: Edit) -> Lane:
    """Change a pending job; returns its lane. Raises ``JobNotFound``, ``StateConflict`` if it is not pending."""
    row = connection.execute(
        _EDIT,
        {
            "id": job_id,
            "priority": None if change.priority is None else change.priority.rank,
            "queue": change.queue,
            "run_at": change.run_at,
            "max_attempts": change.max_attempts,
        },
    ).first()
    if row is None:
        raise _refusal(connection, job_id, "edit")
    return Lane(row.queue, Priority.from_rank(row.priority))


def release(connection: Connection, claims: Sequence[Claim], *, delay: float = 0.0) -> int:
    """Give claims back, due in ``delay`` seconds, or when they were; returns how many were still held."""
    return len(connection.execute(_RELEASE, _claim_arrays(claims) | {"delay": delay}).all())


@dataclass(frozen=True)
class Rescued:
    """How many jobs a rescue took, and the lanes in which some wait again."""

    jobs: int
    lanes: frozenset[Lane]


def rescue(connection: Connection, claims: Sequence[Claim], message: str, *, now: datetime | None = None) -> Rescued:
    """Take jobs from a slot or worker that died under them; ``message`` becomes the error's."""
    rows = connection.execute(
        _RESCUE, _claim_arrays(claims) | {"message": message, "crash_cap": CRASH_CAP, "now": now}
    ).all()
    waiting = {Lane(row.queue, Priority.from_rank(row.priority)) for row in rows if row.state == "PENDING"}
    return Rescued(len(rows), frozenset(waiting))


def held_by_slot(connection: Connection, worker_id: UUID, slot: int) -> tuple[Claim, ...]:
    """The claims that a slot holds by the database's account, also those it never heard of."""
    rows = connection.execute(_HELD_BY_SLOT, {"worker_id": worker_id, "slot": slot})
    return tuple(Claim(row.id, row.fence) for row in rows)


def expire(connection: Connection, *, limit: int = 1000, now: datetime | None = None) -> int:
    """Fail up to ``limit`` pending jobs that were to start by now; returns how many."""
    return len(connection.execute(_EXPIRE, {"limit": limit, "now": now}).all())


def _refusal(connection: Connection, job_id: UUID, action: str) -> SteepleError:
    row = connection.execute(_STATE, {"id": job_id}).first()
    if row is None:
        return JobNotFound(str(job_id))
    if action == "edit" and row.state == "PENDING":
        return InvalidJob([FieldError("/max_attempts", f"{row.attempt} attempts have been made: give a larger number")])
    return StateConflict(str(job_id), row.state, action)


def _claim_arrays(claims: Sequence[Claim]) -> dict[str, Any]:
    return {"ids": [claim.id for claim in claims], "fences": [claim.fence for claim in claims]}

"""What becomes of a new job whose unique key is held: by its own choice, and by whether the holder still may."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

from steeple.domain.job import Idempotency, NewJob
from steeple.domain.unique import TAKES_OVER, OnConflict
from steeple.errors import IdempotencyKeyReused, UniqueKeyHeld
from steeple.store.inbox_answers import Accepted, Answer
from steeple.store.inbox_rows import rows_for_holders

# Lets go of the keys of holders whose time with them is over. Locked in one order, so that two do not deadlock.
_LET_GO = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now),
held AS MATERIALIZED (
    SELECT id FROM jobs, clock
    WHERE id = ANY (CAST(:ids AS uuid[])) AND unique_released_at IS NULL AND unique_until <= clock.now
    ORDER BY id FOR UPDATE OF jobs
)
UPDATE jobs SET unique_released_at = clock.now FROM clock, held WHERE jobs.id = held.id
""")

# Makes pending holders into what the new jobs would be. They keep their ids and when they were made, and the
# idempotency keys of the requests that made them; they have all their attempts before them.
_REPLACE = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now),
wanted AS MATERIALIZED (
    SELECT * FROM json_to_recordset(CAST(:jobs AS json)) AS new (
        holder uuid, task text, args json, queue text, priority smallint, tags text[], unique_key text,
        unique_states job_state[], unique_period float8, run_at timestamptz, delay float8,
        expires_at timestamptz, timeout float8, max_attempts integer, retry json, limits text[], fair_key text
    )
),
held AS MATERIALIZED (
    SELECT jobs.id FROM jobs JOIN wanted ON jobs.id = wanted.holder
    WHERE jobs.state = 'PENDING' AND jobs.on_parent_failure IS NULL AND jobs.unique_key = wanted.unique_key
      AND jobs.unique_released_at IS NULL
    ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET
    task = wanted.task, args = wanted.args, queue = wanted.queue, priority = wanted.priority,
    tags = COALESCE(wanted.tags, '{}'), unique_states = wanted.unique_states,
    unique_until = clock.now + wanted.unique_period * interval '1 s',
    run_at = COALESCE(wanted.run_at, clock.now + wanted.delay * interval '1 s', clock.now),
    expires_at = wanted.expires_at, timeout = wanted.timeout, max_attempts = wanted.max_attempts, retry = wanted.retry,
    limits = wanted.limits, fair_key = wanted.fair_key, held_by = NULL,
    attempt = 0, crashes = 0, started_at = NULL, worker_id = NULL, slot = NULL, progress = NULL, error = NULL,
    stop = NULL
FROM clock, wanted, held
WHERE jobs.id = held.id AND wanted.holder = held.id
RETURNING jobs.id, jobs.run_at, jobs.created_at, clock.now AS replaced_at
""")

# Has pending holders wait until the new jobs would be due; one that waits longer already goes on doing so.
_DEBOUNCE = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now),
wanted AS MATERIALIZED (
    SELECT holder, unique_key, max(run_at) AS run_at, max(delay) AS delay
    FROM json_to_recordset(CAST(:jobs AS json)) AS new (
        holder uuid, unique_key text, run_at timestamptz, delay float8
    )
    GROUP BY holder, unique_key
),
held AS MATERIALIZED (
    SELECT jobs.id FROM jobs JOIN wanted ON jobs.id = wanted.holder
    WHERE jobs.state = 'PENDING' AND jobs.on_parent_failure IS NULL AND jobs.unique_key = wanted.unique_key
      AND jobs.unique_released_at IS NULL
    ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET
    run_at = GREATEST(jobs.run_at, wanted.run_at, clock.now + wanted.delay * interval '1 s')
FROM clock, wanted, held
WHERE jobs.id = held.id AND wanted.holder = held.id
RETURNING jobs.id, jobs.run_at, jobs.created_at, NULL AS replaced_at
""")

_STATEMENTS: Mapping[OnConflict, TextClause] = {OnConflict.REPLACE: _REPLACE, OnConflict.DEBOUNCE: _DEBOUNCE}

# Notes to which job a request came that made none, for when it is repeated.
_NOTE = text("""
INSERT INTO joined_requests (owner, key, request_hash, job_id, way)
VALUES (:owner, :key, :request_hash, :job_id, :way) ON CONFLICT DO NOTHING
""")

# The requests that made no job and have been answered before, as long as their jobs are there.
_NOTED = text("""
SELECT noted.owner, noted.key, noted.request_hash, noted.way, jobs.id, jobs.run_at, jobs.created_at
FROM unnest(CAST(:owners AS text[]), CAST(:keys AS text[])) AS wanted (owner, key)
JOIN joined_requests AS noted ON noted.owner = wanted.owner AND noted.key = wanted.key
JOIN jobs ON jobs.id = noted.job_id
""")

Apart = Callable[[Callable[[Connection], None]], None]
"""Does work in a transaction of its own, that is over at once."""


@dataclass(frozen=True)
class Conflict:
    """A new job, and the one that was seen to hold its key."""

    job: NewJob
    holder: Row[Any]


_Run = list[Conflict]
"""Those who want the same to be done to one holder, one right after the other."""


def settle(
    connection: Connection, conflicts: Sequence[Conflict], *, now: datetime | None, apart: Apart | None
) -> dict[UUID, Answer]:
    """Answers to new jobs whose keys are held; none where the holder lets go, or has changed since it was seen.

    In a transaction that is somebody else's nothing is locked that a worker may wait for: holders whose time is over
    let go ``apart``, and of a holder that was pending and no longer is, the lock is given back at once.
    """
    _let_go([conflict.holder.id for conflict in conflicts if conflict.holder.is_over], connection, now, apart)
    answers: dict[UUID, Answer] = {}
    takers: list[Conflict] = []
    for conflict in (each for each in conflicts if not each.holder.is_over):
        if conflict.job.on_conflict in TAKES_OVER and conflict.holder.is_pending:
            takers.append(conflict)
        else:
            answers[conflict.job.id] = _answer(conflict)
    for turn in _turns(takers):
        for way in _STATEMENTS:
            runs = [run for run in turn if run[0].job.on_conflict is way]
            answers |= _take_over(connection, way, runs, now, apart)
    _note(connection, conflicts, answers)
    return answers


def earlier_answers(connection: Connection, jobs: Sequence[NewJob]) -> dict[UUID, Answer]:
    """Answers to requests that came to another's job before, by their idempotency keys."""
    asked = [(job, job.idempotency) for job in jobs if job.idempotency is not None and may_have_joined(job)]
    if not asked:
        return {}
    keys = {"owners": [each.owner for _, each in asked], "keys": [each.key for _, each in asked]}
    noted = {(row.owner, row.key): row for row in connection.execute(_NOTED, keys)}
    found = ((job, each, noted.get((each.owner, each.key))) for job, each in asked)
    return {job.id: _answer_again(each, row) for job, each, row in found if row is not None}


def may_have_joined(job: NewJob) -> bool:
    """True if an earlier request with the job's idempotency key may have come to another's job."""
    return job.on_conflict is not OnConflict.REJECT and job.idempotency is not None


def let_go(connection: Connection, holders: Iterable[UUID], now: datetime | None) -> None:
    """Have those of ``holders`` whose time with their keys is over let go of them."""
    connection.execute(_LET_GO, {"ids": list(set(holders)), "now": now})


def _let_go(holders: Sequence[UUID], connection: Connection, now: datetime | None, apart: Apart | None) -> None:
    if holders and apart is None:
        let_go(connection, holders, now)
    elif holders and apart is not None:
        apart(lambda own: let_go(own, holders, now))


def _answer(conflict: Conflict) -> Answer:
    """Where the holder stays as it is."""
    job, holder = conflict.job, conflict.holder
    if job.on_conflict is OnConflict.EXISTING:
        return Accepted(holder.id, holder.run_at, holder.created_at, way=OnConflict.EXISTING)
    return UniqueKeyHeld(holder.unique_key, str(holder.id))


def _turns(conflicts: Sequence[Conflict]) -> Iterator[list[_Run]]:
    """In each, every holder once at the most: what many want of one is done in the order in which they asked."""
    runs: dict[UUID, list[_Run]] = {}
    for each in conflicts:
        of_holder = runs.setdefault(each.holder.id, [])
        if of_holder and of_holder[-1][0].job.on_conflict is each.job.on_conflict:
            of_holder[-1].append(each)
        else:
            of_holder.append([each])
    for turn in zip_longest(*runs.values()):
        yield [run for run in turn if run is not None]


def _take_over(
    connection: Connection, way: OnConflict, runs: Sequence[_Run], now: datetime | None, apart: Apart | None
) -> dict[UUID, Answer]:
    """None are answered if a holder has changed where its lock would stay: the transaction is somebody else's."""
    if not runs:
        return {}
    # Of those who replace a job one after the other, the last one prevails.
    acting = [each for run in runs for each in (run[-1:] if way is OnConflict.REPLACE else run)]
    wanted = {"jobs": rows_for_holders((each.holder.id, each.job) for each in acting), "now": now}
    if apart is None:
        rows = connection.execute(_STATEMENTS[way], wanted).all()
    else:
        with connection.begin_nested() as savepoint:
            rows = connection.execute(_STATEMENTS[way], wanted).all()
            if len(rows) < len(runs):
                savepoint.rollback()
                return {}
    taken = {row.id: row for row in rows}
    return {
        each.job.id: Accepted(row.id, row.run_at, row.created_at, way=way, replaced_at=row.replaced_at)
        for run in runs
        if (row := taken.get(run[0].holder.id)) is not None
        for each in run
    }


def _note(connection: Connection, conflicts: Sequence[Conflict], answers: Mapping[UUID, Answer]) -> None:
    notes = [
        {
            "owner": job.idempotency.owner,
            "key": job.idempotency.key,
            "request_hash": job.idempotency.request_hash,
            "job_id": answer.id,
            "way": answer.way,
        }
        for job in (each.job for each in conflicts)
        if job.idempotency is not None and isinstance(answer := answers.get(job.id), Accepted)
    ]
    if notes:
        connection.execute(_NOTE, notes)


def _answer_again(request: Idempotency, noted: Row[Any]) -> Answer:
    if noted.request_hash != request.request_hash:
        return IdempotencyKeyReused(request.key, str(noted.id))
    return Accepted(noted.id, noted.run_at, noted.created_at, is_replay=True, way=OnConflict(noted.way))

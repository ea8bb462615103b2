"""Writes new jobs, many in one INSERT, and tells each submitter what became of its own.

What becomes of a job whose unique key is held is in ``inbox_conflicts``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.dialects.postgresql import psycopg

from steeple.domain.job import NewJob
from steeple.errors import IdempotencyKeyReused
from steeple.store.inbox_answers import Accepted, Answer
from steeple.store.inbox_conflicts import Apart, Conflict, earlier_answers, settle
from steeple.store.inbox_rows import rows_of

# Inserts a batch; a row whose idempotency key or unique key is taken is left out, and missing from what is returned.
# The rows come as one JSON text, which costs a client far less than an array for each column; json keeps ``args`` and
# ``retry`` as they are, number for number. They are inserted in one order by everybody, so that two batches do not wait
# for each other; among jobs that differ in nothing of it, the one that was asked for first is the first.
_INSERT = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now)
INSERT INTO jobs (id, task, args, queue, priority, tags, unique_key, unique_states, unique_until, run_at, created_at,
                  expires_at, timeout, max_attempts, retry, schedule_id, idempotency_owner, idempotency_key,
                  request_hash, held_by, on_parent_failure, flow_id, limits, fair_key)
SELECT id, task, args, queue, priority, COALESCE(tags, '{}'), unique_key, unique_states,
       clock.now + unique_period * interval '1 s',
       COALESCE(run_at, clock.now + delay * interval '1 s', clock.now), clock.now, expires_at, timeout,
       max_attempts, retry, schedule_id, idempotency_owner, idempotency_key, decode(request_hash, 'hex'),
       held_by, on_parent_failure, flow_id, limits, fair_key
FROM clock, json_to_recordset(CAST(:jobs AS json)) AS new (
    id uuid, task text, args json, queue text, priority smallint, tags text[], unique_key text,
    unique_states job_state[], unique_period float8, run_at timestamptz, delay float8,
    expires_at timestamptz, timeout float8, max_attempts integer, retry json, schedule_id uuid,
    idempotency_owner text, idempotency_key text, request_hash text,
    held_by text, on_parent_failure text, flow_id uuid, limits text[], fair_key text
)
ORDER BY unique_key, idempotency_owner, length(idempotency_key), idempotency_key, id
ON CONFLICT DO NOTHING
RETURNING id, run_at, created_at
""")

PLAIN_INSERT = str(_INSERT.compile(dialect=psycopg.dialect()))  # type: ignore[no-untyped-call]
"""The same for psycopg itself."""

# Inserts jobs that differ in id and arguments only. They have no key that could be taken, and their ids grow, so that
# two batches do not wait for each other. An id is taken only where this was done before, and that is as good.
INSERT_ALIKE = text("""
INSERT INTO jobs (id, task, args, queue, priority, tags, run_at, expires_at, timeout, max_attempts, retry, limits,
                  fair_key)
SELECT id, CAST(:task AS text), args, CAST(:queue AS text), CAST(:priority AS smallint), CAST(:tags AS text[]),
       COALESCE(CAST(:run_at AS timestamptz), now() + CAST(:delay AS float8) * interval '1 s', now()),
       CAST(:expires_at AS timestamptz), CAST(:timeout AS float8), CAST(:max_attempts AS integer), CAST(:retry AS json),
       CAST(:limits AS text[]), CAST(:fair_key AS text)
FROM json_to_recordset(CAST(:jobs AS json)) AS new (id uuid, args json)
ON CONFLICT DO NOTHING
""")

# Who stands in the way of jobs that were left out: three look-ups, each by the index that refused them.
_RIVALS = text("""
WITH rival AS (
    SELECT id FROM jobs WHERE id = ANY (CAST(:ids AS uuid[]))
    UNION
    SELECT jobs.id
    FROM unnest(CAST(:owners AS text[]), CAST(:keys AS text[])) AS wanted (owner, key)
    JOIN jobs ON idempotency_owner = wanted.owner AND idempotency_key = wanted.key AND idempotency_key IS NOT NULL
    UNION
    SELECT jobs.id
    FROM unnest(CAST(:unique_keys AS text[])) AS wanted (key)
    JOIN jobs ON unique_key = wanted.key AND unique_key IS NOT NULL AND unique_released_at IS NULL
             AND state = ANY (COALESCE(unique_states, CAST('{PENDING,RUNNING}' AS job_state[])))
)
SELECT jobs.id, jobs.idempotency_owner, jobs.idempotency_key, jobs.request_hash, jobs.unique_key,
       unique_released_at IS NULL
           AND state = ANY (COALESCE(unique_states, CAST('{PENDING,RUNNING}' AS job_state[]))) AS holds_key,
       COALESCE(unique_until <= COALESCE(CAST(:now AS timestamptz), now()), false) AS is_over,
       jobs.state = 'PENDING' AND jobs.on_parent_failure IS NULL AS is_pending, jobs.run_at, jobs.created_at
FROM rival JOIN jobs USING (id)
""")

MOST_AT_ONCE = 1000
"""Jobs of one statement."""

_TRIES = 100
"""Each fails only if a rival went between the INSERT and the look at it."""


def insert_jobs(
    connection: Connection, jobs: Sequence[NewJob], *, now: datetime | None = None, apart: Apart | None = None
) -> list[Answer]:
    """Insert ``jobs``; answers in their order. A job that is refused is not stored, the others are.

    ``apart`` is given where the transaction is somebody else's, and may be long. Parents are not noted:
    ``children.insert_some`` does that.
    """
    answers: dict[UUID, Answer] = earlier_answers(connection, jobs)
    missing = [job for job in jobs if job.id not in answers] if answers else list(jobs)
    for _ in range(_TRIES):
        rows = connection.execute(_INSERT, {"jobs": rows_of(missing), "now": now}).all()
        answers |= {row.id: Accepted(row.id, row.run_at, row.created_at) for row in rows}
        if len(answers) < len(jobs):
            left_out = [job for job in missing if job.id not in answers]
            answers |= _explain(connection, left_out, now, apart)
        missing = [job for job in missing if job.id not in answers]
        if not missing:
            return [answers[job.id] for job in jobs]
    raise RuntimeError(f"rivals of {len(missing)} new jobs come and go faster than they can be looked at")


def _explain(
    connection: Connection, missing: Sequence[NewJob], now: datetime | None, apart: Apart | None
) -> dict[UUID, Answer]:
    """Answers for jobs that were left out; none for a job whose rival has gone meanwhile: it is tried again."""
    rivals = _find_rivals(connection, missing, now)
    answers: dict[UUID, Answer] = {}
    conflicts: list[Conflict] = []
    for job in missing:
        answer = _answer_to_known(job, rivals)
        holder = None if job.unique_key is None else rivals.by_unique_key.get(job.unique_key)
        if answer is not None:
            answers[job.id] = answer
        elif holder is not None:
            conflicts.append(Conflict(job, holder))
    return answers | settle(connection, conflicts, now=now, apart=apart)


@dataclass(frozen=True)
class _Rivals:
    by_id: Mapping[UUID, Row[Any]]
    by_idempotency: Mapping[tuple[str, str], Row[Any]]
    by_unique_key: Mapping[str, Row[Any]]


def _find_rivals(connection: Connection, missing: Sequence[NewJob], now: datetime | None) -> _Rivals:
    rivals = connection.execute(
        _RIVALS,
        {
            "ids": [job.id for job in missing],
            "owners": [job.idempotency.owner for job in missing if job.idempotency],
            "keys": [job.idempotency.key for job in missing if job.idempotency],
            "unique_keys": [job.unique_key for job in missing if job.unique_key is not None],
            "now": now,
        },
    ).all()
    return _Rivals(
        by_id={rival.id: rival for rival in rivals},
        by_idempotency={(rival.idempotency_owner, rival.idempotency_key): rival for rival in rivals},
        by_unique_key={rival.unique_key: rival for rival in rivals if rival.holds_key},
    )


def _answer_to_known(job: NewJob, rivals: _Rivals) -> Answer | None:
    """To a request that was made before, or a job that is stored already."""
    if job.idempotency is not None:
        earlier = rivals.by_idempotency.get((job.idempotency.owner, job.idempotency.key))
        if earlier is not None:
            return _answer_to_repeat(job, earlier)
    itself = rivals.by_id.get(job.id)
    return None if itself is None else Accepted(itself.id, itself.run_at, itself.created_at)


def _answer_to_repeat(job: NewJob, rival: Row[Any]) -> Answer:
    assert job.idempotency is not None
    if rival.request_hash != job.idempotency.request_hash:
        return IdempotencyKeyReused(job.idempotency.key, str(rival.id))
    return Accepted(rival.id, rival.run_at, rival.created_at, is_replay=rival.id != job.id)

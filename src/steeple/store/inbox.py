"""Writes new jobs, many in one INSERT, and tells each submitter what became of its own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.dialects.postgresql import psycopg

from steeple.domain.job import NewJob
from steeple.errors import IdempotencyKeyReused, UniqueKeyHeld

# Inserts a batch; a row whose idempotency key or unique key is taken is left out, and missing from what is returned.
# The rows come as one JSON text, which costs a client far less than an array for each column; json keeps ``args`` and
# ``retry`` as they are, number for number. They are inserted in one order by everybody, so that two batches do not wait
# for each other; among jobs that differ in nothing of it, the one that was asked for first is the first.
_INSERT = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now)
INSERT INTO jobs (id, task, args, queue, priority, tags, unique_key, run_at, created_at, expires_at, timeout,
                  max_attempts, retry, idempotency_owner, idempotency_key, request_hash, limits, fair_key)
SELECT id, task, args, queue, priority, COALESCE(tags, '{}'), unique_key,
       COALESCE(run_at, clock.now + delay * interval '1 s', clock.now), clock.now, expires_at, timeout,
       max_attempts, retry, idempotency_owner, idempotency_key, decode(request_hash, 'hex'), limits, fair_key
FROM clock, json_to_recordset(CAST(:jobs AS json)) AS new (
    id uuid, task text, args json, queue text, priority smallint, tags text[], unique_key text, run_at timestamptz,
    delay float8, expires_at timestamptz, timeout float8, max_attempts integer, retry json,
    idempotency_owner text, idempotency_key text, request_hash text, limits text[], fair_key text
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
    JOIN jobs ON unique_key = wanted.key AND unique_key IS NOT NULL AND state IN ('PENDING', 'RUNNING')
)
SELECT jobs.id, jobs.idempotency_owner, jobs.idempotency_key, jobs.request_hash, jobs.unique_key,
       jobs.state IN ('PENDING', 'RUNNING') AS is_active, jobs.run_at, jobs.created_at
FROM rival JOIN jobs USING (id)
""")

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
MOST_AT_ONCE = 1000
"""Jobs of one statement."""

_TRIES = 100
"""Each fails only if a rival went between the INSERT and the look at it."""


@dataclass(frozen=True)
class Accepted:
    """The job that a submit came to; ``is_replay`` if an earlier request with the same idempotency key made it."""

    id: UUID
    run_at: datetime
    created_at: datetime
    is_replay: bool = False


Answer = Accepted | UniqueKeyHeld | IdempotencyKeyReused


def insert_jobs(connection: Connection, jobs: Sequence[NewJob], *, now: datetime | None = None) -> list[Answer]:
    """Insert ``jobs``; answers in their order. A job that is refused is not stored, the others are."""
    answers: dict[UUID, Answer] = {}
    missing = list(jobs)
    for _ in range(_TRIES):
        rows = connection.execute(_INSERT, {"jobs": rows_of(missing), "now": now}).all()
        answers |= {row.id: Accepted(row.id, row.run_at, row.created_at) for row in rows}
        if len(answers) < len(jobs):
            answers |= _explain(connection, [job for job in missing if job.id not in answers])
        missing = [job for job in missing if job.id not in answers]
        if not missing:
            return [answers[job.id] for job in jobs]
    raise RuntimeError(f"rivals of {len(missing)} new jobs come and go faster than they can be looked at")


def insert_some(connection: Connection, jobs: Sequence[NewJob]) -> list[Answer]:
    """``insert_jobs`` for any number of jobs."""
    parts = (jobs[start : start + MOST_AT_ONCE] for start in range(0, len(jobs), MOST_AT_ONCE))
    return [answer for part in parts for answer in insert_jobs(connection, part)]


def insert_all(connection: Connection, jobs: Sequence[NewJob]) -> list[Answer]:
    """``insert_some``, but if one is refused, the transaction is rolled back."""
    answers = insert_some(connection, jobs)
    if not all(isinstance(answer, Accepted) for answer in answers):
        connection.rollback()
    return answers


def _explain(connection: Connection, missing: Sequence[NewJob]) -> dict[UUID, Answer]:
    """Answers for jobs that were left out; none for a job whose rival has gone meanwhile: it is tried again."""
    rivals = connection.execute(
        _RIVALS,
        {
            "ids": [job.id for job in missing],
            "owners": [job.idempotency.owner for job in missing if job.idempotency],
            "keys": [job.idempotency.key for job in missing if job.idempotency],
            "unique_keys": [job.unique_key for job in missing if job.unique_key is not None],
        },
    ).all()
    known = _Rivals(
        by_id={rival.id: rival for rival in rivals},
        by_idempotency={(rival.idempotency_owner, rival.idempotency_key): rival for rival in rivals},
        by_unique_key={rival.unique_key: rival for rival in rivals if rival.is_active},
    )
    found = ((job.id, _answer(job, known)) for job in missing)
    return {job_id: answer for job_id, answer in found if answer is not None}


@dataclass(frozen=True)
class _Rivals:
    by_id: Mapping[UUID, Row[Any]]
    by_idempotency: Mapping[tuple[str, str], Row[Any]]
    by_unique_key: Mapping[str, Row[Any]]


def _answer(job: NewJob, rivals: _Rivals) -> Answer | None:
    if job.idempotency is not None:
        earlier = rivals.by_idempotency.get((job.idempotency.owner, job.idempotency.key))
        if earlier is not None:
            return _answer_to_repeat(job, earlier)
    itself = rivals.by_id.get(job.id)
    if itself is not None:
        return Accepted(itself.id, itself.run_at, itself.created_at)
    holder = None if job.unique_key is None else rivals.by_unique_key.get(job.unique_key)
    return holder and UniqueKeyHeld(holder.unique_key, str(holder.id))


def _answer_to_repeat(job: NewJob, rival: Row[Any]) -> Answer:
    assert job.idempotency is not None
    if rival.request_hash != job.idempotency.request_hash:
        return IdempotencyKeyReused(job.idempotency.key, str(rival.id))
    return Accepted(rival.id, rival.run_at, rival.created_at, is_replay=rival.id != job.id)


def rows_of(jobs: Sequence[NewJob]) -> str:
    """The jobs as the INSERT takes them: a JSON list."""
    return f"[{','.join(map(_row, jobs))}]"


def _row(job: NewJob) -> str:
    """The job as JSON, without what is null."""
    fields: dict[str, Any] = {
        "id": str(job.id),
        "task": job.task,
        "queue": job.queue,
        "priority": job.priority.rank,
        "timeout": job.timeout,
        "max_attempts": job.max_attempts,
        "unique_key": job.unique_key,
        "delay": job.delay,
    }
    if job.tags:
        fields["tags"] = job.tags
    if job.limits:
        fields["limits"] = job.limits
    if job.fair_key is not None:
        fields["fair_key"] = job.fair_key
    if job.run_at is not None:
        fields["run_at"] = job.run_at.isoformat()
    if job.expires_at is not None:
        fields["expires_at"] = job.expires_at.isoformat()
    if job.retry is not None:
        fields["retry"] = asdict(job.retry)
    if job.idempotency is not None:
        fields["idempotency_owner"] = job.idempotency.owner
        fields["idempotency_key"] = job.idempotency.key
        fields["request_hash"] = job.idempotency.request_hash.hex()
    return f'{_encode(fields)[:-1]},"args":{job.args}}}'

"""Writes new jobs, many in one INSERT, and tells each submitter what became of its own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.job import NewJob
from steeple.errors import IdempotencyKeyReused, UniqueKeyHeld
from steeple.store.encoding import dump

# Inserts a batch; a row whose idempotency key or unique key is taken is left out, and missing from what is returned.
_INSERT = text("""
WITH clock AS MATERIALIZED (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now)
INSERT INTO jobs (id, task, args, queue, priority, tags, unique_key, run_at, created_at, expires_at, timeout,
                  max_attempts, retry, idempotency_owner, idempotency_key, request_hash)
SELECT id, task, CAST(args AS json), queue, priority, CAST(tags AS text[]), unique_key,
       COALESCE(run_at, clock.now + delay * interval '1 s', clock.now), clock.now, expires_at, timeout,
       max_attempts, CAST(retry AS json), idempotency_owner, idempotency_key, request_hash
FROM clock, unnest(
    CAST(:id AS uuid[]), CAST(:task AS text[]), CAST(:args AS text[]), CAST(:queue AS text[]),
    CAST(:priority AS smallint[]), CAST(:tags AS text[]), CAST(:unique_key AS text[]),
    CAST(:run_at AS timestamptz[]), CAST(:delay AS float8[]), CAST(:expires_at AS timestamptz[]),
    CAST(:timeout AS float8[]), CAST(:max_attempts AS integer[]), CAST(:retry AS text[]),
    CAST(:idempotency_owner AS text[]), CAST(:idempotency_key AS text[]), CAST(:request_hash AS bytea[])
) AS new (id, task, args, queue, priority, tags, unique_key, run_at, delay, expires_at, timeout, max_attempts, retry,
          idempotency_owner, idempotency_key, request_hash)
ORDER BY unique_key, idempotency_owner, idempotency_key
ON CONFLICT DO NOTHING
RETURNING id, run_at, created_at
""")

# Who stands in the way of jobs that were left out.
_RIVALS = text("""
SELECT jobs.id, jobs.idempotency_owner, jobs.idempotency_key, jobs.request_hash, jobs.unique_key,
       jobs.state IN ('PENDING', 'RUNNING') AS is_active, jobs.run_at, jobs.created_at
FROM jobs
WHERE jobs.id = ANY (CAST(:ids AS uuid[]))
   OR (idempotency_key IS NOT NULL AND (idempotency_owner, idempotency_key) IN (
        SELECT * FROM unnest(CAST(:owners AS text[]), CAST(:keys AS text[]))))
   OR (unique_key IS NOT NULL AND state IN ('PENDING', 'RUNNING') AND unique_key = ANY (CAST(:unique_keys AS text[])))
""")

_TRIES = 5


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
        rows = connection.execute(_INSERT, _columns(missing) | {"now": now}).all()
        answers |= {row.id: Accepted(row.id, row.run_at, row.created_at) for row in rows}
        missing = [job for job in missing if job.id not in answers]
        if not missing:
            break
        answers |= _explain(connection, missing)
        missing = [job for job in missing if job.id not in answers]
    return [answers[job.id] for job in jobs]


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
    found = ((job.id, _answer(job, rivals)) for job in missing)
    return {job_id: answer for job_id, answer in found if answer is not None}


def _answer(job: NewJob, rivals: Sequence[Row[Any]]) -> Answer | None:
    if job.idempotency is not None:
        for rival in rivals:
            if (rival.idempotency_owner, rival.idempotency_key) == (job.idempotency.owner, job.idempotency.key):
                return _answer_to_repeat(job, rival)
    for rival in rivals:
        if rival.id == job.id:
            return Accepted(rival.id, rival.run_at, rival.created_at)
    for rival in rivals:
        if job.unique_key is not None and rival.is_active and rival.unique_key == job.unique_key:
            return UniqueKeyHeld(job.unique_key, str(rival.id))
    return None


def _answer_to_repeat(job: NewJob, rival: Row[Any]) -> Answer:
    assert job.idempotency is not None
    if rival.request_hash != job.idempotency.request_hash:
        return IdempotencyKeyReused(job.idempotency.key, str(rival.id))
    return Accepted(rival.id, rival.run_at, rival.created_at, is_replay=rival.id != job.id)


def _columns(jobs: Sequence[NewJob]) -> dict[str, Any]:
    keys = [job.idempotency for job in jobs]
    return {
        "id": [job.id for job in jobs],
        "task": [job.task for job in jobs],
        "args": [job.args for job in jobs],
        "queue": [job.queue for job in jobs],
        "priority": [job.priority.rank for job in jobs],
        "tags": [_array_literal(job.tags) for job in jobs],
        "unique_key": [job.unique_key for job in jobs],
        "run_at": [job.run_at for job in jobs],
        "delay": [job.delay for job in jobs],
        "expires_at": [job.expires_at for job in jobs],
        "timeout": [job.timeout for job in jobs],
        "max_attempts": [job.max_attempts for job in jobs],
        "retry": [None if job.retry is None else dump(asdict(job.retry)) for job in jobs],
        "idempotency_owner": [key and key.owner for key in keys],
        "idempotency_key": [key and key.key for key in keys],
        "request_hash": [key and key.request_hash for key in keys],
    }


def _array_literal(items: Sequence[str]) -> str:
    """A one-dimensional PostgreSQL array in its text form: ``unnest`` cannot take arrays of unequal length apart."""
    quoted = (item.replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return "{" + ",".join(f'"{item}"' for item in quoted) + "}"

"""What is known of a job that does not run, or runs: for ``domain.why``, which makes reasons of it."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.limits import Block
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.domain.why import Execution, Facts, LiveWorker, Pause
from steeple.errors import JobNotFound
from steeple.store.children import read_awaited
from steeple.store.limits import uses_of
from steeple.store.queue_limits import use_of_queue
from steeple.store.workers import live_workers

# The job, and of its worker what tells whether it is well.
_JOB = text("""
SELECT jobs.id, state, task, queue, priority, run_at, expires_at, attempt, limits, fair_key, timeout, slot,
       jobs.started_at, held_by, queues.paused_at, queues.paused_by, queues.pause_note,
       COALESCE(CAST(:now AS timestamptz), now()) AS now, workers.name AS worker,
       CAST(EXTRACT(epoch FROM now() - workers.heartbeat_at) AS float8) AS silence,
       (SELECT message FROM job_logs WHERE job_id = jobs.id ORDER BY id DESC LIMIT 1) AS last_line
FROM jobs LEFT JOIN workers ON workers.id = jobs.worker_id LEFT JOIN queues ON queues.name = jobs.queue
WHERE jobs.id = :id
""")

# Jobs that run and name a key.
_HOLDERS = text("""
SELECT id FROM jobs WHERE state = 'RUNNING' AND limits IS NOT NULL AND :key = ANY (limits) ORDER BY started_at LIMIT 20
""")

# Due jobs that go before one, up to a bound: those of a higher priority in the same queue, and in its lane the older
# ones; of those that share it by fair keys, the older ones of its own.
_AHEAD = text("""
SELECT count(*) FROM (
    (SELECT FROM jobs
     WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL AND queue = :queue
       AND (priority < :priority OR priority = :priority AND CAST(:fair_key AS text) IS NULL
            AND (run_at, id) < (:run_at, :id)) AND run_at <= :now
     LIMIT :most)
    UNION ALL
    (SELECT FROM jobs
     WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL) AND queue = :queue
       AND (priority < :priority OR priority = :priority AND fair_key IS NOT DISTINCT FROM CAST(:fair_key AS text)
            AND (run_at, id) < (:run_at, :id)) AND run_at <= :now
     LIMIT :most)
) AS ahead
""")

# How many fair keys have jobs due in a lane, beside one.
_SHARERS = text("""
SELECT count(DISTINCT fair_key) FROM (
    SELECT fair_key FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND fair_key IS NOT NULL AND fair_key <> :fair_key
      AND queue = :queue AND priority = :priority AND run_at <= :now LIMIT 100000
) AS others
""")

# The parents of a job that ended without success.
_FAILED_PARENTS = text("""
SELECT parent_id FROM job_parents WHERE child_id = :id AND ended_as IN ('FAILED', 'CANCELLED')
ORDER BY parent_id LIMIT 20
""")

_MOST_AHEAD = 1000


def read_facts(connection: Connection, job_id: UUID, dead_after: float, *, now: datetime | None = None) -> Facts:
    """``dead_after``: seconds of silence after which a worker counts as dead. Raises ``JobNotFound``."""
    job = connection.execute(_JOB, {"id": job_id, "now": now}).first()
    if job is None:
        raise JobNotFound(str(job_id))
    lane = Lane(job.queue, Priority.from_rank(job.priority))
    facts: dict[str, Any] = {"state": State(job.state), "at": job.now, "run_at": job.run_at, "attempt": job.attempt}
    facts |= {"task": job.task, "lane": lane, "fair_key": job.fair_key, "most_ahead": _MOST_AHEAD}
    facts |= {"expires_at": job.expires_at}
    if job.state == State.RUNNING:
        facts["execution"] = _execution(job)
    if job.state == State.PENDING:
        facts |= _of_a_pending_job(connection, job, dead_after)
    return Facts(**facts)


def _of_a_pending_job(connection: Connection, job: Row[Any], dead_after: float) -> dict[str, Any]:
    place = {"queue": job.queue, "priority": job.priority, "fair_key": job.fair_key, "now": job.now}
    ahead = connection.execute(_AHEAD, place | {"run_at": job.run_at, "id": job.id, "most": _MOST_AHEAD}).scalar_one()
    uses = uses_of(connection, job.limits or (), job.now)
    return {
        "held_by": job.held_by,
        "awaited": read_awaited(connection, job.id),
        "failed_parents": list(connection.execute(_FAILED_PARENTS, {"id": job.id}).scalars()),
        "pause": None if job.paused_at is None else Pause(job.paused_at, job.paused_by, job.pause_note),
        "of_queue": use_of_queue(connection, job.queue, job.now),
        "limits": uses,
        "holders": {key: _holders(connection, key) for key, use in uses.items() if use.blocks is Block.RUNNING},
        "workers": [
            LiveWorker(worker.name, worker.binding, worker.tasks, worker.draining)
            for worker in live_workers(connection, dead_after)
        ],
        "sharers": connection.execute(_SHARERS, place).scalar_one() if job.fair_key is not None else 0,
        "ahead": min(ahead, _MOST_AHEAD),
    }


def _holders(connection: Connection, key: str) -> list[UUID]:
    return list(connection.execute(_HOLDERS, {"key": key}).scalars())


def _execution(job: Row[Any]) -> Execution:
    deadline = job.started_at + timedelta(seconds=job.timeout)
    return Execution(job.worker, job.slot, job.started_at, deadline, job.silence, job.last_line)

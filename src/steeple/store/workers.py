"""Workers' rows: registering, heartbeats, who lives, whose jobs are orphaned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.job import Claim
from steeple.domain.priority import Binding, Priority

# A worker says that it is there, and what it can do.
_REGISTER = text("""
INSERT INTO workers (id, name, version, slots, queues, priorities, tasks)
VALUES (:id, :name, :version, :slots, CAST(:queues AS text[]), CAST(:priorities AS smallint[]), CAST(:tasks AS text[]))
ON CONFLICT (id) DO NOTHING
""")

# A worker that was taken for dead stays dead: no row is matched, and its jobs are no longer its own.
_BEAT = text("""
WITH durability AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS set)
UPDATE workers SET heartbeat_at = now(), trouble = :trouble, draining = :draining
FROM durability WHERE id = :id AND ended_at IS NULL
RETURNING id
""")

# A worker takes its leave.
_END = text("UPDATE workers SET ended_at = now() WHERE id = :id AND ended_at IS NULL")

# Declares workers dead whose heartbeat is too old; compared and set at once: a late heartbeat wins or loses whole.
_BURY = text("""
UPDATE workers SET ended_at = COALESCE(CAST(:now AS timestamptz), now())
WHERE id IN (
    SELECT id FROM workers
    WHERE ended_at IS NULL
      AND heartbeat_at < COALESCE(CAST(:now AS timestamptz), now()) - CAST(:dead_after AS float8) * interval '1 s'
    ORDER BY id FOR UPDATE SKIP LOCKED
)
RETURNING name
""")

# Running jobs whose worker lives no longer, or never did. Those that somebody holds locked are left for a later look:
# they must not hold up the rescue of the others.
_ORPHANS = text("""
SELECT jobs.id, jobs.fence, workers.name,
       CAST(EXTRACT(epoch FROM workers.ended_at - workers.heartbeat_at) AS float8) AS silence
FROM jobs LEFT JOIN workers ON workers.id = jobs.worker_id
WHERE state = 'RUNNING' AND (workers.id IS NULL OR workers.ended_at IS NOT NULL)
ORDER BY jobs.worker_id, jobs.id LIMIT :limit FOR UPDATE OF jobs SKIP LOCKED
""")

# Workers whose heartbeat is fresh.
_LIVE = text("""
SELECT id, name, version, slots, queues, priorities, tasks, started_at, heartbeat_at, draining,
       trouble, now() - heartbeat_at AS silence
FROM workers
WHERE ended_at IS NULL AND heartbeat_at >= now() - CAST(:dead_after AS float8) * interval '1 s'
ORDER BY started_at, id
""")

# What a worker runs, and what its warden may have to know of it: cancelled, claimed a while ago.
_WATCHED = text("""
SELECT id, fence, slot, cancel_requested_at IS NOT NULL AS is_cancelled,
       started_at < now() - interval '5 s' AS is_old
FROM jobs
WHERE state = 'RUNNING' AND worker_id = :worker_id
""")

# What workers run, the longest-running first, up to a bound.
_RUNNING = text("""
SELECT worker_id, id, task, started_at FROM jobs WHERE state = 'RUNNING' AND worker_id = ANY (CAST(:ids AS uuid[]))
ORDER BY started_at LIMIT 1000
""")

# Whether a live worker has the code of a task.
_KNOWS = text("""
SELECT EXISTS (
    SELECT FROM workers
    WHERE :task = ANY (tasks)
      AND COALESCE(ended_at, heartbeat_at) >= now() - CAST(:within AS float8) * interval '1 s'
)
""")

# Drops workers that ended long ago.
_FORGET = text("DELETE FROM workers WHERE ended_at < now() - CAST(:keep AS float8) * interval '1 s'")


@dataclass(frozen=True)
class NewWorker:
    id: UUID
    name: str
    version: str
    slots: int
    binding: Binding
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class WorkerRow:
    """A live worker. ``silence``: seconds since its last heartbeat. ``trouble``: what keeps it from working."""

    id: UUID
    name: str
    version: str
    slots: int
    queues: tuple[str, ...] | None
    priorities: tuple[Priority, ...]
    tasks: tuple[str, ...]
    started_at: datetime
    heartbeat_at: datetime
    silence: float
    draining: bool
    trouble: str | None

    @property
    def binding(self) -> Binding:
        return Binding(self.queues, self.priorities)


@dataclass(frozen=True)
class Orphan:
    """A claim whose worker is gone. ``silence``: seconds from its last heartbeat to its end.

    ``worker`` and ``silence`` are None if the worker's row is gone too.
    """

    claim: Claim
    worker: str | None
    silence: float | None


@dataclass(frozen=True)
class Watched:
    claim: Claim
    slot: int
    is_cancelled: bool
    is_old: bool
    """Claimed over 5 s ago."""


@dataclass(frozen=True)
class RunningJob:
    worker_id: UUID
    id: UUID
    task: str
    started_at: datetime


def register(connection: Connection, worker: NewWorker) -> None:
    connection.execute(
        _REGISTER,
        {
            "id": worker.id,
            "name": worker.name,
            "version": worker.version,
            "slots": worker.slots,
            "queues": None if worker.binding.queues is None else list(worker.binding.queues),
            "priorities": [priority.rank for priority in worker.binding.priorities],
            "tasks": list(worker.tasks),
        },
    )


def beat(connection: Connection, worker_id: UUID, *, draining: bool, trouble: str | None = None) -> bool:
    """Record a heartbeat; False if the worker has been declared dead, and must begin anew."""
    parameters = {"id": worker_id, "draining": draining, "trouble": trouble}
    return connection.execute(_BEAT, parameters).first() is not None


def end(connection: Connection, worker_id: UUID) -> None:
    connection.execute(_END, {"id": worker_id})


def bury(connection: Connection, dead_after: float, *, now: datetime | None = None) -> tuple[str, ...]:
    """Declare workers dead that were silent for ``dead_after`` seconds; returns their names."""
    return tuple(connection.execute(_BURY, {"dead_after": dead_after, "now": now}).scalars())


def orphans(connection: Connection, *, limit: int = 1000) -> tuple[Orphan, ...]:
    """Running jobs that no live worker holds, worker by worker."""
    rows = connection.execute(_ORPHANS, {"limit": limit})
    return tuple(Orphan(Claim(row.id, row.fence), row.name, row.silence) for row in rows)


def live_workers(connection: Connection, dead_after: float) -> list[WorkerRow]:
    """Workers whose last heartbeat is at most ``dead_after`` seconds old."""
    return [_worker(row) for row in connection.execute(_LIVE, {"dead_after": dead_after})]


def watched(connection: Connection, worker_id: UUID) -> list[Watched]:
    """The worker's claims, by the database's account."""
    rows = connection.execute(_WATCHED, {"worker_id": worker_id})
    return [Watched(Claim(row.id, row.fence), row.slot, row.is_cancelled, row.is_old) for row in rows]


def running_jobs(connection: Connection, worker_ids: Sequence[UUID]) -> list[RunningJob]:
    """What the workers run, up to 1,000 jobs, the longest-running first."""
    return [RunningJob(*row) for row in connection.execute(_RUNNING, {"ids": list(worker_ids)})]


def knows_task(connection: Connection, task: str, within: float) -> bool:
    """True if a worker that has a task of this name lives, or did so ``within`` the last seconds."""
    return bool(connection.execute(_KNOWS, {"task": task, "within": within}).scalar_one())


def forget(connection: Connection, keep: float) -> None:
    """Delete the rows of workers that ended over ``keep`` seconds ago."""
    connection.execute(_FORGET, {"keep": keep})


def _worker(row: Row[Any]) -> WorkerRow:
    return WorkerRow(
        id=row.id,
        name=row.name,
        version=row.version,
        slots=row.slots,
        queues=None if row.queues is None else tuple(row.queues),
        priorities=tuple(Priority.from_rank(rank) for rank in row.priorities),
        tasks=tuple(row.tasks),
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        silence=max(0.0, row.silence.total_seconds()),
        draining=row.draining,
        trouble=row.trouble,
    )

"""What a slot tells and asks in one round trip: it finishes the last batch and claims the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.job import Claim, ClaimedJob, Finish
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.retry import Retry
from steeple.store.exchange_statement import EXCHANGE
from steeple.store.finish_rows import finishes_text

# A job as it was claimed, if the claim still holds.
_CLAIMED = text("""
SELECT id, fence, task, CAST(args AS text) AS args, queue, attempt, max_attempts, timeout, retry, run_at,
       started_at AS claimed_at, crashes
FROM jobs WHERE id = :id AND fence = :fence AND CAST(state AS text) = 'RUNNING'
""")


@dataclass(frozen=True)
class Claimant:
    """Who claims, and what it may: ``tasks`` None means any task; ``starvation`` is in seconds."""

    worker_id: UUID
    slot: int
    binding: Binding
    starvation: float
    tasks: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Exchanged:
    """``stale``: finishes that matched no row. ``due``: the best lane that had due jobs before this claim.

    ``has_let_go``: jobs for which others waited have ended, so that more may be due than this claim could see.
    ``ruled``: the best lane from which jobs are claimed by rules alone (``ruled_claims``); what is here goes before it.
    It is its turn as far as its jobs were due by ``ruled_until``.
    ``marks`` is for the next claim. ``is_alive`` is False when the worker's row has ended: it was taken for dead and
    may claim nothing.
    """

    jobs: tuple[ClaimedJob, ...]
    stale: tuple[Claim, ...]
    due: Lane | None
    is_alive: bool
    has_let_go: bool
    marks: str | None
    ruled: Lane | None = None
    ruled_until: datetime | None = None


def nobody(worker_id: UUID, slot: int) -> Claimant:
    """For an exchange that only finishes."""
    return Claimant(worker_id, slot, Binding((), ()), starvation=0.0)


def exchange(
    connection: Connection,
    finishes: Sequence[Finish],
    claimant: Claimant,
    limit: int,
    *,
    marks: str | None = None,
    ahead: bool = False,
    passed: Sequence[Lane] = (),
    now: datetime | None = None,
) -> Exchanged:
    """Record ``finishes`` and claim up to ``limit`` due jobs for ``claimant``.

    With the ``marks`` of an earlier claim this one goes on where that left off: it does not see queues that had nothing
    pending then, nor jobs that became due late, such as those of a transaction that was long under way.
    ``ahead``: they will wait for what runs, so no job is claimed that must run alone. ``passed``: lanes in which rules
    let nothing start now.
    """
    binding = claimant.binding
    rows = connection.execute(
        EXCHANGE,
        {
            "finishes": finishes_text(finishes),
            "now": now,
            "marks": marks,
            "worker_id": claimant.worker_id,
            "slot": claimant.slot,
            "queues": None if binding.queues is None else list(binding.queues),
            "priorities": [priority.rank for priority in binding.priorities],
            "tasks": None if claimant.tasks is None else list(claimant.tasks),
            "starvation": claimant.starvation,
            "limit": limit,
            "ahead": ahead,
            "passed_queues": [lane.queue for lane in passed],
            "passed_priorities": [lane.priority.rank for lane in passed],
        },
    ).all()
    return Exchanged(
        jobs=tuple(claimed_job(row) for row in rows if row.place is not None),
        stale=_stale(rows[0]),
        due=_lane(rows[0].due_queue, rows[0].due_priority),
        is_alive=rows[0].is_alive,
        has_let_go=rows[0].has_let_go,
        marks=rows[0].marks,
        ruled=_lane(rows[0].ruled_queue, rows[0].ruled_priority),
        ruled_until=rows[0].ruled_until,
    )


def read_claimed(connection: Connection, claim: Claim) -> ClaimedJob | None:
    """The job of a claim; None if the claim no longer holds."""
    row = connection.execute(_CLAIMED, {"id": claim.id, "fence": claim.fence}).first()
    return None if row is None else claimed_job(row)


def _lane(queue: str | None, rank: int) -> Lane | None:
    return None if queue is None else Lane(queue, Priority.from_rank(rank))


def _stale(row: Row[Any]) -> tuple[Claim, ...]:
    return tuple(map(Claim, row.stale_ids or (), row.stale_fences or ()))


def claimed_job(row: Row[Any]) -> ClaimedJob:
    return ClaimedJob(
        id=row.id,
        fence=row.fence,
        task=row.task,
        args=row.args,
        queue=row.queue,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        timeout=row.timeout,
        retry=None if row.retry is None else Retry.stored(row.retry),
        run_at=row.run_at,
        claimed_at=row.claimed_at,
        crashes=row.crashes,
    )

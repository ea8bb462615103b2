"""What a slot tells and asks in one round trip: it finishes the last batch and claims the next."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.job import Claim, ClaimedJob, Finish
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.retry import Retry
from steeple.store.encoding import encode_error
from steeple.store.exchange_statement import EXCHANGE

# A job as it was claimed, if the claim still holds.
_CLAIMED = text("""
SELECT id, fence, task, CAST(args AS text) AS args, queue, attempt, max_attempts, timeout, retry, run_at,
       started_at AS claimed_at, crashes
FROM jobs WHERE id = :id AND fence = :fence AND CAST(state AS text) = 'RUNNING'
""")

LONGEST_DELAY = 3650 * 86400.0
"""Seconds; a retry later than in ten years is put off for those, which a timestamp can hold."""

LATEST_FINISH = 1.0
"""An outcome written later than this (seconds) counts as finished when it was written, less this: what reads
finished jobs in the order of their time can then rely on none appearing far behind."""


_quoted = json.encoder.encode_basestring


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

    ``ruled``: the best lane from which jobs are claimed by rules alone (``ruled_claims``); what is here goes before it.
    ``marks`` is for the next claim. ``is_alive`` is False when the worker's row has ended: it was taken for dead and
    may claim nothing.
    """

    jobs: tuple[ClaimedJob, ...]
    stale: tuple[Claim, ...]
    due: Lane | None
    is_alive: bool
    marks: str | None
    ruled: Lane | None = None


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
    now: datetime | None = None,
) -> Exchanged:
    """Record ``finishes`` and claim up to ``limit`` due jobs for ``claimant``.

    With the ``marks`` of an earlier claim this one goes on where that left off: it does not see queues that had nothing
    pending then, nor jobs that became due late, such as those of a transaction that was long under way.
    ``ahead``: they will wait for what runs, so no job is claimed that must run alone.
    """
    binding = claimant.binding
    rows = connection.execute(
        EXCHANGE,
        {
            "finishes": _finishes_text(finishes),
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
        },
    ).all()
    return Exchanged(
        jobs=tuple(claimed_job(row) for row in rows if row.place is not None),
        stale=_stale(rows[0]),
        due=_lane(rows[0].due_queue, rows[0].due_priority),
        is_alive=rows[0].is_alive,
        marks=rows[0].marks,
        ruled=_lane(rows[0].ruled_queue, rows[0].ruled_priority),
    )


def read_claimed(connection: Connection, claim: Claim) -> ClaimedJob | None:
    """The job of a claim; None if the claim no longer holds."""
    row = connection.execute(_CLAIMED, {"id": claim.id, "fence": claim.fence}).first()
    return None if row is None else claimed_job(row)


def _finishes_text(finishes: Sequence[Finish]) -> str:
    """As a JSON list, in the order of the ids."""
    return f"[{','.join(map(_finish_text, sorted(finishes, key=lambda finish: finish.id)))}]"


def _finish_text(finish: Finish) -> str:
    """As a JSON object, without what is null. Its own JSON goes as text in it, number for number."""
    text = (
        f'{{"id":"{finish.id}","fence":{finish.fence},"state":"{finish.state.value}",'
        f'"began_ago":{finish.began_ago},"ended_ago":{min(finish.ended_ago, LATEST_FINISH)}'
    )
    if finish.result is not None:
        text += f',"result":{_quoted(finish.result)}'
    if finish.error is not None:
        text += f',"error":{_quoted(encode_error(finish.error))}'
    if finish.retry_in is not None:
        text += f',"retry_in":{min(finish.retry_in, LONGEST_DELAY)}'
    return text + "}"


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

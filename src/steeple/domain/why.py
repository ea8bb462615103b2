"""Why a job is where it is: facts in, reasons out, in the order in which they would have to go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from steeple.domain.job import Hold
from steeple.domain.limits import Block, Use
from steeple.domain.priority import Binding, Lane
from steeple.domain.states import TERMINAL, State


@dataclass(frozen=True)
class Reason:
    """``code`` is for programs, ``text`` for people; ``facts`` are members of the reason beside them."""

    code: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LiveWorker:
    name: str
    binding: Binding
    tasks: Sequence[str]
    draining: bool


@dataclass(frozen=True)
class Pause:
    """Since when a queue is paused, by whom and why."""

    since: datetime
    by: str | None
    note: str | None


class Awaited(Protocol):
    """Parents that have not ended: how many, and the first few."""

    @property
    def total(self) -> int: ...

    @property
    def first(self) -> Sequence[UUID]: ...


@dataclass(frozen=True)
class Execution:
    """``silence``: seconds since the worker's last heartbeat; None if nothing is known of it any more."""

    worker: str | None
    slot: int | None
    started_at: datetime
    deadline: datetime
    silence: float | None
    last_line: str | None


@dataclass(frozen=True)
class Facts:
    """What the database knows of a job. ``holders``: by key of a limit that is full, jobs that hold it.

    ``ahead``: due jobs that go before it, counted up to ``most_ahead``. ``sharers``: other fair keys with due jobs in
    its lane.
    """

    state: State
    at: datetime
    run_at: datetime
    attempt: int
    task: str
    lane: Lane
    expires_at: datetime | None = None
    held_by: str | None = None
    awaited: Awaited | None = None
    failed_parents: Sequence[UUID] = ()
    pause: Pause | None = None
    of_queue: Use | None = None
    limits: Mapping[str, Use] = field(default_factory=dict)
    holders: Mapping[str, Sequence[UUID]] = field(default_factory=dict)
    workers: Sequence[LiveWorker] = ()
    fair_key: str | None = None
    sharers: int = 0
    ahead: int = 0
    most_ahead: int = 1000
    execution: Execution | None = None


def reasons(facts: Facts) -> list[Reason]:
    """At least one."""
    if facts.state in TERMINAL:
        return [Reason("ended", f"it has ended: {facts.state.value}", {"state": facts.state.value})]
    if facts.execution is not None:
        return [_running(facts, facts.execution)]
    found = [
        *_not_yet(facts),
        *_waiting(facts),
        *_paused(facts),
        *_queue_limited(facts),
        *_limited(facts),
        *_nobody(facts),
    ]
    return found or _in_line(facts)


def _not_yet(facts: Facts) -> list[Reason]:
    if facts.expires_at is not None and facts.expires_at <= facts.at:
        return [Reason("expired", "its expires_at has passed: it fails in a moment", {"expires_at": facts.expires_at})]
    if facts.run_at <= facts.at:
        return []
    seconds = (facts.run_at - facts.at).total_seconds()
    at = {"run_at": facts.run_at, "seconds": seconds}
    if facts.attempt:
        return [Reason("retry_later", f"attempt {facts.attempt} failed; the next is due in {seconds:.1f} s", at)]
    return [Reason("not_due", f"it is due in {seconds:.1f} s", at)]


def _waiting(facts: Facts) -> list[Reason]:
    """What has to do with other jobs."""
    if facts.held_by == Hold.PARENT_FAILED:
        jobs = [str(job) for job in facts.failed_parents]
        text = "a job that it depends on ended without success, and it is held: retry it to have it run anyway"
        return [Reason("parent_failed", text, {"job_ids": jobs})]
    if facts.held_by in (Hold.PARENTS, Hold.UNCONFIRMED) and facts.awaited is not None:
        jobs = [str(job) for job in facts.awaited.first]
        text = f"it waits for {facts.awaited.total} other jobs to end"
        return [Reason("waiting_for_parents", text, {"jobs": facts.awaited.total, "job_ids": jobs})]
    return []


def _paused(facts: Facts) -> list[Reason]:
    if facts.pause is None:
        return []
    by = f" by {facts.pause.by}" if facts.pause.by else ""
    note = f": {facts.pause.note}" if facts.pause.note else ""
    text = f"queue {facts.lane.queue} is paused{by}{note}"
    facts_of_it = {"since": facts.pause.since, "by": facts.pause.by, "note": facts.pause.note}
    return [Reason("queue_paused", text, {"queue": facts.lane.queue} | facts_of_it)]


def _queue_limited(facts: Facts) -> list[Reason]:
    use, queue = facts.of_queue, facts.lane.queue
    if use is None or use.blocks is None:
        return []
    if use.blocks is Block.RUNNING:
        text = f"queue {queue} is full: {use.running} of {use.limit.max_running} jobs run"
        return [Reason("queue_full", text, {"queue": queue, "max_running": use.limit.max_running})]
    assert use.limit.rate is not None
    seconds = use.limit.rate.seconds_until(1.0, use.tokens)
    text = f"the rate of queue {queue} is used up: the next may start in {seconds:.1f} s"
    return [Reason("queue_rate_limited", text, {"queue": queue, "seconds": seconds})]


def _limited(facts: Facts) -> list[Reason]:
    full = [_limit(key, use, facts.holders.get(key, ())) for key, use in facts.limits.items() if use.blocks]
    block, _, key = (facts.held_by or "").partition(":")
    if full or block not in tuple(Block):
        return full
    return [Reason("limit_freed", f"limit {key!r} held it back and lets it try again in a moment", {"key": key})]


def _limit(key: str, use: Use, holders: Sequence[UUID]) -> Reason:
    limit = use.limit
    if use.blocks is Block.RUNNING:
        text = f"limit {key!r} is full: {use.running} of {limit.max_running} run"
        jobs = [str(job) for job in holders]
        return Reason("limit_full", text, {"key": key, "max_running": limit.max_running, "job_ids": jobs})
    assert limit.rate is not None
    seconds = limit.rate.seconds_until(1.0, use.tokens)
    text = f"the rate of limit {key!r} is used up: the next may start in {seconds:.1f} s"
    return Reason("rate_limited", text, {"key": key, "seconds": seconds})


def _nobody(facts: Facts) -> list[Reason]:
    ready = [worker for worker in facts.workers if not worker.draining]
    bound = [worker for worker in ready if worker.binding.covers(facts.lane)]
    lane = {"queue": facts.lane.queue, "priority": facts.lane.priority.value}
    if not ready:
        return [Reason("no_worker", "no worker is alive that takes new jobs")]
    if not bound:
        names = ", ".join(worker.name for worker in ready)
        text = (
            f"no live worker serves queue {facts.lane.queue} at priority {facts.lane.priority.value} (alive: {names})"
        )
        return [Reason("no_worker_for_lane", text, lane)]
    if not any(facts.task in worker.tasks for worker in bound):
        text = f"no live worker that serves its lane has a task named {facts.task!r}"
        return [Reason("no_worker_for_task", text, lane | {"task": facts.task})]
    return []


def _in_line(facts: Facts) -> list[Reason]:
    if not facts.ahead:
        return [Reason("next", "it is next: a slot that is free takes it")]
    count = f"{facts.ahead} or more" if facts.ahead >= facts.most_ahead else str(facts.ahead)
    found = [Reason("behind", f"{count} due jobs go before it", {"jobs": facts.ahead})]
    if facts.fair_key is not None:
        text = f"it takes turns with {facts.sharers} other fair keys in its lane"
        found.append(Reason("fair_share", text, {"fair_key": facts.fair_key, "sharers": facts.sharers}))
    return found


def _running(facts: Facts, execution: Execution) -> Reason:
    seconds = (facts.at - execution.started_at).total_seconds()
    where = f"on {execution.worker}" if execution.worker else "on a worker that is gone"
    members = {
        "seconds": seconds,
        "started_at": execution.started_at,
        "worker": execution.worker,
        "slot": execution.slot,
        "heartbeat_seconds": execution.silence,
        "deadline": execution.deadline,
        "last_line": execution.last_line,
    }
    return Reason("running", f"it has been running for {seconds:.1f} s {where}", members)

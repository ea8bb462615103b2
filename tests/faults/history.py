"""A history: what clients were told, what became of every job, what the tasks did, what was broken when. Plain data.

Five sources, put together by ``recorder``: *replies* (a client's calls, an unknown outcome marked as such),
*transitions* and *workers' lines* (written by triggers), *effects* (lines of the test tasks, see ``fault_tasks``) and
*facts* that only the test knows: crashes of the database server, times of trouble, forged messages, when all was whole
again. ``checker`` replays it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from uuid import UUID

from steeple.domain.states import TERMINAL, Cause, State


class Call(StrEnum):
    SUBMIT = "submit"
    CANCEL = "cancel"
    RETRY = "retry"
    SHOW = "show"


class Answer(StrEnum):
    ACCEPTED = "accepted"
    """2xx."""

    REFUSED = "refused"
    """4xx: nothing was done."""

    UNKNOWN = "unknown"
    """No answer, or a 5xx: it may have been done."""


@dataclass(frozen=True)
class Reply:
    """One call of a client. ``job_ids``: those that the answer named, or that were asked about.

    ``request`` tells what was asked for: a repeat with the same ``idempotency`` (owner, key) has the same. ``state`` is
    what the answer showed.
    """

    call: Call
    answer: Answer
    asked_at: datetime
    answered_at: datetime
    job_ids: tuple[UUID, ...] = ()
    idempotency: tuple[str, str] | None = None
    request: str | None = None
    state: State | None = None

    def __str__(self) -> str:
        named = " ".join(map(str, self.job_ids))
        return f"{self.asked_at:%H:%M:%S.%f} {self.call} {named} -> {self.answer}"


@dataclass(frozen=True)
class Row:
    """A job's row at one moment. ``fence_named``: the fence that its result or error names, if it names one."""

    state: State
    fence: int
    attempt: int = 0
    max_attempts: int = 3
    crashes: int = 0
    run_at: datetime | None = None
    started_at: datetime | None = None
    expires_at: datetime | None = None
    worker_id: UUID | None = None
    slot: int | None = None
    unique_key: str | None = None
    idempotency_owner: str | None = None
    idempotency_key: str | None = None
    schedule_id: UUID | None = None
    parents: tuple[UUID, ...] = ()
    on_parent_failure: str | None = None
    is_cancel_requested: bool = False
    result: str | None = None
    error: str | None = None
    fence_named: int | None = None


@dataclass(frozen=True)
class Transition:
    """A change of a job's row. ``before`` None: it was inserted; ``after`` None: it was deleted.

    ``number`` orders the changes of one job as they came about, and those of two jobs wherever one had to wait for the
    other. ``at`` is the server's clock. ``clock`` is what was meant to be the time, where a test sets it.
    """

    number: int
    at: datetime
    job_id: UUID
    before: Row | None
    after: Row | None
    txid: int = 0
    clock: datetime | None = None

    @property
    def cause(self) -> Cause | None:
        """What it must have been, by its traces; None for a deletion, or a change within a state."""
        if self.after is None:
            return None
        if self.before is None:
            return Cause.SUBMIT
        return _cause(self.before, self.after)

    @property
    def is_claim(self) -> bool:
        return self.cause is Cause.CLAIM

    def __str__(self) -> str:
        return f"#{self.number} {self.at:%H:%M:%S.%f} {self.job_id} {shown(self.before)} -> {shown(self.after)}"


def _cause(before: Row, after: Row) -> Cause | None:
    match before.state, after.state:
        case State.PENDING, State.RUNNING:
            return Cause.CLAIM
        case State.PENDING, State.FAILED:
            return Cause.EXPIRE
        case _, State.CANCELLED if before.state is not State.CANCELLED:
            return Cause.CANCEL
        case State.RUNNING, State.PENDING if after.worker_id is None:
            return Cause.RELEASE
        case State.RUNNING, State.PENDING | State.FAILED if after.crashes > before.crashes:
            return Cause.RESCUE
        case State.RUNNING, State.PENDING:
            return Cause.RETRY_LATER
        case State.RUNNING, State.SUCCESS | State.FAILED:
            return Cause.FINISH
        case _, State.PENDING if before.state in TERMINAL:
            return Cause.RETRY
    return None


def shown(row: Row | None) -> str:
    """A row in few words."""
    if row is None:
        return "nothing"
    facts = [f"{row.state} fence={row.fence} attempt={row.attempt}/{row.max_attempts}"]
    facts += [f"crashes={row.crashes}"] if row.crashes else []
    facts += [f"worker={str(row.worker_id)[-4:]}/{row.slot}"] if row.worker_id else []
    facts += ["cancel requested"] if row.is_cancel_requested else []
    facts += [f"names fence {row.fence_named}"] if row.fence_named is not None else []
    return " ".join(facts)


@dataclass(frozen=True)
class WorkerLine:
    """A worker's row was made (``ended`` False), or ended, or came back to life (``ended`` None: it must not)."""

    number: int
    at: datetime
    worker_id: UUID
    ended: bool | None

    def __str__(self) -> str:
        what = {False: "registered", True: "ended", None: "came back"}[self.ended]
        return f"#{self.number} {self.at:%H:%M:%S.%f} worker {str(self.worker_id)[-4:]} {what}"


@dataclass(frozen=True)
class Effect:
    """A task's run, by the lines that it appended. ``ended_at`` None: it never came to its end. ``clock`` is what was
    meant to be the time when it began, where a test sets it."""

    job_id: UUID
    attempt: int
    fence: int
    pid: int
    began_at: datetime
    ended_at: datetime | None = None
    clock: datetime | None = None

    def __str__(self) -> str:
        until = f"{self.ended_at:%H:%M:%S.%f}" if self.ended_at else "…"
        what = f"{self.job_id} attempt={self.attempt} fence={self.fence} pid={self.pid}"
        return f"effect {self.began_at:%H:%M:%S.%f} to {until} {what}"


@dataclass(frozen=True)
class Round:
    """A slot's attendant looked after what waits there, from ``began_at`` to ``ended_at``; ``clock`` is what was meant
    to be the time. Only where a test moves everybody by hand."""

    worker_id: UUID
    slot: int
    began_at: datetime
    ended_at: datetime
    clock: datetime

    def __str__(self) -> str:
        return f"round {self.began_at:%H:%M:%S.%f} of slot {self.slot} of worker {str(self.worker_id)[-4:]}"


@dataclass(frozen=True)
class Rest:
    """A slot has nothing more to do, by its own account. Only where a test moves everybody by hand."""

    worker_id: UUID
    slot: int
    at: datetime

    def __str__(self) -> str:
        return f"rest from {self.at:%H:%M:%S.%f} on of slot {self.slot} of worker {str(self.worker_id)[-4:]}"


@dataclass(frozen=True)
class Span:
    """A time of trouble, during which nothing is promised about times."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Limit:
    """At most ``max_running`` of ``job_ids`` may run at once."""

    name: str
    max_running: int
    job_ids: frozenset[UUID]


@dataclass(frozen=True)
class History:
    """All of it, in order. What a test does not state is not checked; ``checker`` says what each invariant needs."""

    transitions: tuple[Transition, ...] = ()
    workers: tuple[WorkerLine, ...] = ()
    effects: tuple[Effect, ...] = ()
    replies: tuple[Reply, ...] = ()
    present: Mapping[UUID, Row] | None = None
    """The rows at the end; None: what the transitions amount to."""

    server_crashes: tuple[datetime, ...] = ()
    """When PostgreSQL was killed. It excuses nothing: heartbeats and reports of progress of the moment before may be
    lost, and the product makes up for them; what moves a job from state to state may not."""

    troubles: tuple[Span, ...] = ()
    healed_at: datetime | None = None
    """From when on nothing was broken any more; None: invariant 2 is not checked."""

    bound: timedelta = timedelta(seconds=60)
    """Within which every job is to end after ``healed_at``."""

    slack: timedelta = timedelta(seconds=1)
    """What a busy machine may add to times."""

    is_timed: bool = True
    """False where a test chooses who moves when, so that times mean nothing."""

    rounds: tuple[Round, ...] = ()
    rests: tuple[Rest, ...] = ()
    limits: tuple[Limit, ...] = ()
    forged: int = 0
    """Messages that were put into the broker and are no wake-ups."""

    dropped: int | None = None
    """How many messages the product says that it dropped; None: invariant 12 does not look at it."""

    @cached_property
    def by_job(self) -> Mapping[UUID, tuple[Transition, ...]]:
        """Each job's transitions, in order."""
        found: dict[UUID, list[Transition]] = {}
        for each in sorted(self.transitions, key=lambda each: each.number):
            found.setdefault(each.job_id, []).append(each)
        return {job_id: tuple(lines) for job_id, lines in found.items()}

    @cached_property
    def claims(self) -> Mapping[tuple[UUID, int], Transition]:
        """The claims by job and fence."""
        return {(each.job_id, each.after.fence): each for each in self.transitions if each.after and each.is_claim}

    def at_end(self) -> Mapping[UUID, Row]:
        """The rows at the end."""
        if self.present is not None:
            return self.present
        last = {job_id: lines[-1].after for job_id, lines in self.by_job.items()}
        return {job_id: row for job_id, row in last.items() if row is not None}

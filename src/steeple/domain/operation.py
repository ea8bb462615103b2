"""Operations: one action on every job that matches a filter. What an action may do to a job in which state. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from steeple.domain.priority import Priority
from steeple.domain.states import TERMINAL, Cause, State, sources


class Action(StrEnum):
    CANCEL = "cancel"
    """Pending jobs at once; running ones are told to stop."""

    RETRY = "retry"
    """Jobs that have ended become pending again, with all their attempts before them."""

    DELETE = "delete"
    """Jobs go, with their attempts and log lines. Not while they run."""

    REPRIORITISE = "reprioritise"
    """Pending jobs get another priority."""

    MOVE = "move"
    """Pending jobs go to another queue."""


class OperationState(StrEnum):
    PENDING = "PENDING"
    """Made, and no job has been looked at."""

    RUNNING = "RUNNING"
    """Jobs are looked at, batch by batch."""

    DONE = "DONE"
    """Every job that it covers has been looked at."""

    ABORTED = "ABORTED"
    """Somebody stopped it; what had been done stays done."""


OVER = frozenset({OperationState.DONE, OperationState.ABORTED})


class Skip(StrEnum):
    """Why a job was left as it is, in words that are shown."""

    IS_PENDING = "is pending"
    IS_RUNNING = "is running"
    HAS_ENDED = "has ended"
    ENDED_SINCE = "ended after the operation was made"
    KEY_HELD = "its unique key is held"
    NO_LONGER_MATCHED = "no longer matched when it was its turn"


_MAY_ACT_ON: Final = {
    Action.CANCEL: sources(Cause.CANCEL),
    Action.RETRY: sources(Cause.RETRY),
    Action.DELETE: frozenset(State) - {State.RUNNING},
    Action.REPRIORITISE: frozenset({State.PENDING}),
    Action.MOVE: frozenset({State.PENDING}),
}
_IN_THE_WAY: Final = {State.PENDING: Skip.IS_PENDING, State.RUNNING: Skip.IS_RUNNING}


@dataclass(frozen=True)
class Order:
    """What is to be done to each job: an action, and the value that it sets, if it sets one."""

    action: Action
    priority: Priority | None = None
    queue: str | None = None


@dataclass(frozen=True)
class HeldJob:
    """A job that matches, as an operation finds it; nobody else changes it meanwhile.

    ``unique_key`` is None also if its time with the key is over.
    """

    id: UUID
    state: State
    started_at: datetime | None
    finished_at: datetime | None
    unique_key: str | None


@dataclass(frozen=True)
class Skipped:
    """``held_by``: the job that holds the unique key, if that is why."""

    id: UUID
    why: Skip
    held_by: UUID | None = None


@dataclass(frozen=True)
class Batch:
    """What became of some jobs."""

    done: int = 0
    skipped: tuple[Skipped, ...] = field(default=())


def is_covered(job: HeldJob, states: tuple[State, ...], made_at: datetime) -> bool:
    """False for a job that came into one of the wanted ``states`` only after the operation was made."""
    if not states:
        return True
    since = job.finished_at if job.state in TERMINAL else job.started_at if job.state == State.RUNNING else None
    return since is None or since <= made_at


def obstacle(action: Action, job: HeldJob, made_at: datetime) -> Skip | None:
    """Why the action cannot be done to a job, None if it can.

    A job that ended after the operation was made is not started again: it may be one that it, or somebody, has started
    again already.
    """
    if job.state not in _MAY_ACT_ON[action]:
        return _IN_THE_WAY.get(job.state, Skip.HAS_ENDED)
    if action is Action.RETRY and job.finished_at is not None and job.finished_at > made_at:
        return Skip.ENDED_SINCE
    return None

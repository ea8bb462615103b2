"""The states of a job and every way from one to another, as data. Nothing else names a transition."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    PENDING = "PENDING"
    """Accepted, and not being run: due at ``run_at``, waiting for its next attempt, or for other jobs to end."""

    RUNNING = "RUNNING"
    """Claimed by a worker under the job's present fence."""

    SUCCESS = "SUCCESS"
    """The task returned; ``result`` holds what."""

    FAILED = "FAILED"
    """No attempt is left, or the task rejected the job; ``error`` says why."""

    CANCELLED = "CANCELLED"
    """Someone cancelled the job before it ended."""


class Cause(StrEnum):
    SUBMIT = "submit"
    CLAIM = "claim"
    FINISH = "finish"
    RETRY_LATER = "finish with a retryable failure"
    RESCUE = "rescue"
    RELEASE = "release"
    EXPIRE = "expire"
    CANCEL = "cancel"
    RETRY = "explicit retry"


@dataclass(frozen=True)
class Transition:
    source: State | None
    target: State
    cause: Cause
    raises_fence: bool


TRANSITIONS = (
    Transition(None, State.PENDING, Cause.SUBMIT, raises_fence=False),
    Transition(State.PENDING, State.RUNNING, Cause.CLAIM, raises_fence=True),
    Transition(State.RUNNING, State.SUCCESS, Cause.FINISH, raises_fence=False),
    Transition(State.RUNNING, State.FAILED, Cause.FINISH, raises_fence=False),
    Transition(State.RUNNING, State.PENDING, Cause.RETRY_LATER, raises_fence=False),
    Transition(State.RUNNING, State.PENDING, Cause.RESCUE, raises_fence=True),
    Transition(State.RUNNING, State.PENDING, Cause.RELEASE, raises_fence=True),
    Transition(State.RUNNING, State.FAILED, Cause.RESCUE, raises_fence=True),
    Transition(State.PENDING, State.FAILED, Cause.EXPIRE, raises_fence=True),
    Transition(State.PENDING, State.CANCELLED, Cause.CANCEL, raises_fence=True),
    Transition(State.RUNNING, State.CANCELLED, Cause.CANCEL, raises_fence=True),
    Transition(State.FAILED, State.PENDING, Cause.RETRY, raises_fence=True),
    Transition(State.CANCELLED, State.PENDING, Cause.RETRY, raises_fence=True),
    Transition(State.SUCCESS, State.PENDING, Cause.RETRY, raises_fence=True),
)

TERMINAL = frozenset({State.SUCCESS, State.FAILED, State.CANCELLED})
ACTIVE = frozenset(State) - TERMINAL


def is_allowed(source: State | None, target: State) -> bool:
    """True if some transition leads from ``source`` to ``target``."""
    return any(step.source == source and step.target == target for step in TRANSITIONS)


def sources(cause: Cause) -> frozenset[State]:
    """The states in which ``cause`` may act on a job."""
    return frozenset(step.source for step in TRANSITIONS if step.cause == cause and step.source is not None)

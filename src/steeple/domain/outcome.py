"""What follows from how an attempt ended: success, another attempt, failure or cancellation. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

from steeple.domain.job import JobError, Reason
from steeple.domain.retry import Retry
from steeple.domain.states import State

_NEVER_RETRIED = frozenset({Reason.REJECTED, Reason.BAD_RESULT, Reason.RESULT_TOO_LARGE, Reason.UNKNOWN_TASK})


@dataclass(frozen=True)
class Returned:
    """The task returned; ``result`` is JSON text."""

    result: str


@dataclass(frozen=True)
class Failed:
    """The attempt failed. ``retry_in``: the delay in seconds that the task chose itself."""

    error: JobError
    retry_in: float | None = None


@dataclass(frozen=True)
class Stopped:
    """The task stopped because its job was cancelled."""


Outcome = Returned | Failed | Stopped


class Verdict(NamedTuple):
    state: State
    result: str | None = None
    error: JobError | None = None
    retry_in: float | None = None


def decide(outcome: Outcome, *, attempt: int, max_attempts: int, policy: Retry, uniform: float) -> Verdict:
    """The verdict on an attempt. ``uniform`` is a random number in [0, 1) for the jitter."""
    match outcome:
        case Returned(result):
            return Verdict(State.SUCCESS, result=result)
        case Stopped():
            return Verdict(State.CANCELLED)
        case Failed(error, retry_in):
            if error.reason in _NEVER_RETRIED or attempt >= max_attempts:
                return Verdict(State.FAILED, error=error)
            delay = policy.delay(attempt, uniform) if retry_in is None else retry_in
            return Verdict(State.PENDING, error=error, retry_in=delay)

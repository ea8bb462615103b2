"""One attempt, whatever thread runs it: its context, and what follows from how it ended."""

import json
import traceback
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple

from pydantic_core import to_jsonable_python

from steeple.context import Context, Reporter
from steeple.domain.job import Claim, ClaimedJob, JobError, Reason
from steeple.domain.outcome import Failed, Outcome, Returned, Stopped
from steeple.errors import Cancelled, Reject, RetryIn
from steeple.task import Task
from steeple.worker.board import Place, Running, Seat, Stop


class Attempt(NamedTuple):
    """A claimed job at its place on the board. ``began`` is in seconds of the monotonic clock."""

    job: ClaimedJob
    claim: Claim
    task: Task[Any, Any]
    place: Place
    began: float

    @classmethod
    def begin(cls, job: ClaimedJob, task: Task[Any, Any], seat: Seat, number: int) -> "Attempt":
        """Note on the board that it runs, at the place of this number."""
        began = monotonic()
        claim = Claim(job.id, job.fence)
        seat.begin(number, Running(claim, began, began + job.timeout))
        return cls(job, claim, task, seat.places[number], began)

    def asked_to_stop(self) -> Stop | None:
        return self.place.asked_to_stop(self.claim)

    def arguments(self, reporter: Reporter) -> dict[str, Any]:
        """What to call the task's function with."""

        def context() -> Context:
            job = self.job
            deadline = datetime.now(UTC) + timedelta(seconds=job.timeout)
            return Context(job.id, job.attempt, job.fence, deadline, reporter, lambda: self.asked_to_stop() is not None)

        return self.task.decode(self.job.args, context)

    def outcome_of(self, error: BaseException) -> Outcome | None:
        """What an exception means; None if the worker's shutdown cut the attempt short, and it does not count.

        A stop that was asked for explains whatever the task raised after it.
        """
        match self.asked_to_stop():
            case Stop.CANCEL:
                return Stopped()
            case Stop.SHUTDOWN if isinstance(error, Cancelled):
                return None
            case Stop.TIMEOUT:
                return Failed(timed_out(self.job.timeout, _traceback(error)))
        match error:
            case Reject():
                return Failed(_described(error, Reason.REJECTED))
            case RetryIn():
                return Failed(_described(error, Reason.EXCEPTION), retry_in=error.seconds)
            case _:
                return Failed(_described(error, Reason.EXCEPTION))


_NOTHING = Returned("null")

_encode = json.JSONEncoder(
    default=to_jsonable_python, allow_nan=False, ensure_ascii=False, separators=(",", ":")
).encode


def encode_result(value: Any, limit: int) -> Outcome:
    """A task's result as JSON; a failure if it is none, or takes over ``limit`` bytes."""
    if value is None:
        return _NOTHING
    try:
        text = _encode(value)
        if "\\u0000" in text:
            text = json.dumps(json.loads(text.replace("\\u0000", "\\ufffd")), ensure_ascii=False)
        size = len(text.encode())
    except Exception as error:  # noqa: BLE001 - the value may bring code of its own
        message = f"the result is not JSON: {_message(error)}"
        return Failed(JobError(type(value).__name__, message, Reason.BAD_RESULT))
    if size > limit:
        message = f"the result takes {size} bytes, {limit} are allowed"
        return Failed(JobError("ResultTooLarge", message, Reason.RESULT_TOO_LARGE))
    return Returned(text)


def timed_out(timeout: float, trace: str | None = None) -> JobError:
    return JobError("TimedOut", f"the attempt ran past its timeout of {timeout:g} s", Reason.TIMEOUT, trace)


def _described(error: BaseException, reason: Reason) -> JobError:
    return JobError(type(error).__name__, _message(error), reason, _traceback(error))


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - a task's exception may do anything when it is printed
        return f"<its message could not be read: {type(broken).__name__}>"


def _traceback(error: BaseException) -> str:
    """From the task's own frame on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception as broken:  # noqa: BLE001 - as above
        return f"<its traceback could not be read: {type(broken).__name__}>"

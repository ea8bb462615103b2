"""Runs one attempt: decode the arguments, call the task, catch whatever it raises, encode the result."""

import asyncio
import json
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from pydantic_core import to_jsonable_python

from steeple.context import Context
from steeple.domain.job import Claim, ClaimedJob, JobError, Reason
from steeple.domain.outcome import Failed, Outcome, Returned, Stopped
from steeple.errors import Cancelled, Reject, RetryIn
from steeple.task import Task
from steeple.worker.board import Running, Seat, Stop
from steeple.worker.interrupts import Interruptible, Interrupts
from steeple.worker.reporter import SlotReporter


class Performer:
    """Runs tasks one after the other, in the slot's main thread."""

    def __init__(
        self,
        tasks: Mapping[str, Task[Any, Any]],
        seat: Seat,
        interrupts: Interrupts,
        reporter: SlotReporter,
        max_result_bytes: int,
    ) -> None:
        self._tasks = tasks
        self._seat = seat
        self._interrupts = interrupts
        self._reporter = reporter
        self._max_result_bytes = max_result_bytes
        self._loop: asyncio.Runner | None = None

    def perform(self, job: ClaimedJob) -> Outcome | None:
        """How the attempt ended; None if the worker's shutdown cut it short, and it does not count."""
        claim = Claim(job.id, job.fence)
        began = monotonic()
        self._seat.begin(Running(claim, began, began + job.timeout))
        try:
            return self._call(self._tasks[job.task], job, claim)
        finally:
            self._seat.end()

    def _call(self, task: Task[Any, Any], job: ClaimedJob, claim: Claim) -> Outcome | None:
        try:
            arguments = task.decode(job.args, self._context(job, claim))
        except Exception as error:  # noqa: BLE001 - hints may bring validators of the user's own
            return Failed(_described(error, Reason.EXCEPTION))
        try:
            try:
                self._interrupts.arm(claim)
                value = self._run(task, arguments)
            finally:
                self._interrupts.disarm()
        except BaseException as error:  # noqa: BLE001 - SystemExit and the like end the attempt, not the slot
            return self._outcome_of(error, claim, job.timeout)
        return self._encode(value)

    def _run(self, task: Task[Any, Any], arguments: dict[str, Any]) -> Any:
        if not task.is_async:
            return task.function(**arguments)
        if self._loop is None:
            self._loop = asyncio.Runner()
        coroutine = Interruptible(task.function(**arguments))
        self._interrupts.watch(coroutine)
        return self._loop.run(coroutine.run())

    def _context(self, job: ClaimedJob, claim: Claim) -> Context:
        deadline = datetime.now(UTC) + timedelta(seconds=job.timeout)
        is_cancelled = _stop_reader(self._seat, claim)
        return Context(job.id, job.attempt, job.fence, deadline, self._reporter, is_cancelled)

    def _outcome_of(self, error: BaseException, claim: Claim, timeout: float) -> Outcome | None:
        """A stop that was asked for explains whatever the task raised after it."""
        match self._seat.asked_to_stop(claim):
            case Stop.CANCEL:
                return Stopped()
            case Stop.SHUTDOWN if isinstance(error, Cancelled):
                return None
            case Stop.TIMEOUT:
                return Failed(timed_out(timeout, _traceback(error)))
        match error:
            case Reject():
                return Failed(_described(error, Reason.REJECTED))
            case RetryIn():
                return Failed(_described(error, Reason.EXCEPTION), retry_in=error.seconds)
            case _:
                return Failed(_described(error, Reason.EXCEPTION))

    def _encode(self, value: Any) -> Outcome:
        try:
            text = json.dumps(
                value, default=to_jsonable_python, allow_nan=False, ensure_ascii=False, separators=(",", ":")
            )
            size = len(text.encode())
        except (TypeError, ValueError, RecursionError) as error:
            message = f"the result is not JSON: {_message(error)}"
            return Failed(JobError(type(value).__name__, message, Reason.BAD_RESULT))
        if "\\u0000" in text:
            text = json.dumps(json.loads(text.replace("\\u0000", "\\ufffd")), ensure_ascii=False)
        if size > self._max_result_bytes:
            message = f"the result takes {size} bytes, {self._max_result_bytes} are allowed"
            return Failed(JobError("ResultTooLarge", message, Reason.RESULT_TOO_LARGE))
        return Returned(text)


def timed_out(timeout: float, trace: str | None = None) -> JobError:
    return JobError("TimedOut", f"the attempt ran past its timeout of {timeout:g} s", Reason.TIMEOUT, trace)


def _stop_reader(seat: Seat, claim: Claim) -> Callable[[], bool]:
    return lambda: seat.asked_to_stop(claim) is not None


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
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception as broken:  # noqa: BLE001 - as above
        return f"<its traceback could not be read: {type(broken).__name__}>"

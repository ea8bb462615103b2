"""What can go wrong, as types that carry facts. Surfaces (HTTP, CLI) choose the words and the status.

::

    SteepleError
    ├── ConfigurationError            a setting is missing or wrong
    ├── TaskDefinitionError           a function cannot be registered as a task
    ├── UnknownTask                   no task of that name
    ├── InvalidArguments              arguments that the task's type hints refuse
    ├── InvalidJob                    an option of a job that is out of range
    ├── TooLarge                      a value over its size limit
    ├── JobNotFound
    ├── FlowNotFound
    ├── StateConflict                 the job's state does not allow the action
    ├── FlowConflict                  the flow's state does not allow the action
    ├── UniqueKeyHeld                 an active job holds the unique key
    ├── IdempotencyKeyReused          same idempotency key, another request
    ├── InvalidSchedule               a member of a schedule that cannot be
    ├── ScheduleNotFound
    ├── ScheduleNameTaken             another schedule has the name
    ├── ScheduleChanged               it is no longer the version that was to be changed
    ├── ScheduleIsCode                declared in code: what it says can only be changed there
    ├── OperationNotFound
    ├── OperationOver                 the operation is done, and cannot be aborted
    ├── OperationKeyReused            same idempotency key, another operation
    ├── CutOff                        a worker could not work for long, and ended
    ├── WaitTimeout                   the job has not ended in time
    ├── JobFailed                     ``Handle.result`` of a job that ended FAILED
    └── JobCancelled                  ``Handle.result`` of a job that ended CANCELLED

    Raised by tasks
    ├── Reject(Exception)             fail without retry
    └── RetryIn(Exception)            fail, and choose the delay of the next attempt

    Raised inside tasks
    └── Cancelled(BaseException)      the job was cancelled
        └── TimedOut                  the attempt ran past its timeout
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FieldError:
    """One fault in the input. ``pointer`` is an RFC 6901 JSON Pointer, such as ``/args/month``."""

    pointer: str
    detail: str


class SteepleError(Exception):
    """The root of all errors that Steeple raises to its callers."""


class ConfigurationError(SteepleError):
    """A setting is missing or wrong; the message says which, and what to do."""


class TaskDefinitionError(SteepleError):
    """A function that cannot be a task; the message says why."""


class UnknownTask(SteepleError):
    def __init__(self, task: str, known: Sequence[str] = ()) -> None:
        super().__init__(f"no task named {task!r} is registered")
        self.task = task
        self.known = tuple(known)


class InvalidArguments(SteepleError):
    def __init__(self, task: str, errors: Sequence[FieldError]) -> None:
        super().__init__(f"{task}: " + "; ".join(f"{error.pointer or '/'}: {error.detail}" for error in errors))
        self.task = task
        self.errors = tuple(errors)


class InvalidJob(SteepleError):
    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.pointer or '/'}: {error.detail}" for error in errors))
        self.errors = tuple(errors)


class TooLarge(SteepleError):
    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(f"{what} takes {size} bytes, {limit} are allowed")
        self.what, self.size, self.limit = what, size, limit


class JobNotFound(SteepleError):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id}")
        self.job_id = job_id


class FlowNotFound(SteepleError):
    def __init__(self, flow_id: str) -> None:
        super().__init__(f"no flow {flow_id}")
        self.flow_id = flow_id


class FlowConflict(SteepleError):
    def __init__(self, flow_id: str, state: str, action: str) -> None:
        super().__init__(f"flow {flow_id} is {state}: nothing to {action}")
        self.flow_id, self.state, self.action = flow_id, state, action


class StateConflict(SteepleError):
    def __init__(self, job_id: str, state: str, action: str) -> None:
        super().__init__(f"job {job_id} is {state}: cannot {action}")
        self.job_id, self.state, self.action = job_id, state, action


class UniqueKeyHeld(SteepleError):
    def __init__(self, unique_key: str, job_id: str) -> None:
        super().__init__(f"unique key {unique_key!r} is held by job {job_id}")
        self.unique_key, self.job_id = unique_key, job_id


class IdempotencyKeyReused(SteepleError):
    def __init__(self, key: str, job_id: str) -> None:
        super().__init__(f"idempotency key {key!r} was used for another request, job {job_id}")
        self.key, self.job_id = key, job_id


class InvalidSchedule(SteepleError):
    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.pointer or '/'}: {error.detail}" for error in errors))
        self.errors = tuple(errors)


class ScheduleNotFound(SteepleError):
    def __init__(self, schedule_id: str) -> None:
        super().__init__(f"no schedule {schedule_id}")
        self.schedule_id = schedule_id


class ScheduleNameTaken(SteepleError):
    def __init__(self, name: str, schedule_id: str) -> None:
        super().__init__(f"the name {name!r} is that of schedule {schedule_id}")
        self.name, self.schedule_id = name, schedule_id


class ScheduleChanged(SteepleError):
    def __init__(self, schedule_id: str, version: int) -> None:
        super().__init__(f"schedule {schedule_id} has changed: it is version {version} by now")
        self.schedule_id, self.version = schedule_id, version


class ScheduleIsCode(SteepleError):
    def __init__(self, schedule_id: str, name: str) -> None:
        super().__init__(f"schedule {name!r} is declared in code: change it there")
        self.schedule_id, self.name = schedule_id, name


class OperationNotFound(SteepleError):
    def __init__(self, operation_id: str) -> None:
        super().__init__(f"no operation {operation_id}")
        self.operation_id = operation_id


class OperationOver(SteepleError):
    def __init__(self, operation_id: str, state: str) -> None:
        super().__init__(f"operation {operation_id} is {state}: cannot abort")
        self.operation_id, self.state = operation_id, state


class OperationKeyReused(SteepleError):
    def __init__(self, key: str, operation_id: str) -> None:
        super().__init__(f"idempotency key {key!r} was used for another request, operation {operation_id}")
        self.key, self.operation_id = key, operation_id


class CutOff(SteepleError):
    """A worker that could not work for long has ended, for its supervisor to start it again."""


class WaitTimeout(SteepleError):
    def __init__(self, job_id: str, state: str, timeout: float) -> None:
        super().__init__(f"job {job_id} is still {state} after {timeout:g} s")
        self.job_id, self.state, self.timeout = job_id, state, timeout


class JobFailed(SteepleError):
    """``error`` is the job's ``error`` object: ``type``, ``message``, ``traceback``, ``reason``."""

    def __init__(self, job_id: str, error: Mapping[str, Any]) -> None:
        super().__init__(f"job {job_id} failed: {error.get('type')}: {error.get('message')}")
        self.job_id, self.error = job_id, error


class JobCancelled(SteepleError):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} was cancelled")
        self.job_id = job_id


class Reject(Exception):
    """Raised by a task: the job fails now, whatever attempts are left."""


class RetryIn(Exception):
    """Raised by a task: this attempt failed, and the next one is due in ``seconds``.

    It still counts as an attempt: after ``max_attempts`` of them the job fails.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"RetryIn takes a finite number of seconds, 0 or more, not {seconds!r}")
        super().__init__(message or f"retry in {seconds:g} s")
        self.seconds = seconds


class Cancelled(BaseException):
    """Raised inside a running task when its job is cancelled.

    A ``BaseException``, so that a task's own ``except Exception`` does not swallow it. Clean up and let it pass.
    """


class TimedOut(Cancelled):
    """Raised inside a running task when the attempt runs past its timeout."""

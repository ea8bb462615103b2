"""From a request for a job to the row that will be stored: options checked, defaults filled in. No I/O."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from uuid_utils.compat import uuid7

from steeple.domain.job import Idempotency, NewJob
from steeple.domain.priority import QUEUE_PATTERN, Priority
from steeple.domain.retry import Retry
from steeple.errors import FieldError, InvalidJob, TooLarge
from steeple.store.tasks import TaskRecord

_TEN_YEARS = 3650 * 86400.0
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _storable(text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ValueError("holds a NUL or half a surrogate pair, which cannot be stored")
    return text


def _seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


Text = Annotated[str, AfterValidator(_storable)]
QueueName = Annotated[str, Field(pattern=QUEUE_PATTERN)]
Tag = Annotated[Text, Field(min_length=1, max_length=100)]
Key = Annotated[Text, Field(min_length=1, max_length=255)]
MaxAttempts = Annotated[int, Field(ge=1, le=1000)]


class JobOptions(BaseModel):
    """What a submitter may say about a job beside its task and arguments; what is left out the task decides.

    ``delay`` and ``timeout`` are seconds; ``run_at`` and ``expires_at`` are moments with a time zone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    queue: QueueName | None = None
    priority: Priority | None = None
    run_at: AwareDatetime | None = None
    delay: Annotated[float, Field(ge=0, le=_TEN_YEARS)] | None = None
    expires_at: AwareDatetime | None = None
    timeout: Annotated[float, Field(gt=0, le=_TEN_YEARS)] | None = None
    max_attempts: MaxAttempts | None = None
    unique_key: Key | None = None
    tags: Annotated[list[Tag], Field(max_length=32)] = []

    @model_validator(mode="after")
    def _one_time_to_run(self) -> Self:
        if self.run_at is not None and self.delay is not None:
            raise ValueError("give run_at or delay, not both")
        return self


class PythonOptions(JobOptions):
    """The same for callers in Python, who may also replace the task's retry policy."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retry: Retry | None = None
    idempotency_key: Key | None = None


def read_options(options: Mapping[str, Any]) -> PythonOptions:
    """Check options given in Python. Raises ``InvalidJob``."""
    try:
        return PythonOptions.model_validate({name: _seconds(value) for name, value in options.items()})
    except ValidationError as error:
        raise InvalidJob(field_errors(error, options)) from None


def new_job(
    task: TaskRecord, args: str, options: JobOptions, *, limit: int, idempotency: Idempotency | None = None
) -> NewJob:
    """The job that was asked for. ``args`` is JSON text that the task accepts; over ``limit`` bytes: ``TooLarge``."""
    size = len(args.encode())
    if size > limit:
        raise TooLarge("args", size, limit)
    retry = options.retry if isinstance(options, PythonOptions) else None
    return NewJob(
        id=new_id(),
        task=task.name,
        args=args,
        queue=options.queue or task.queue,
        priority=options.priority or task.priority,
        tags=tuple(dict.fromkeys(options.tags)),
        unique_key=options.unique_key,
        run_at=options.run_at,
        delay=options.delay,
        expires_at=options.expires_at,
        timeout=options.timeout or task.timeout,
        max_attempts=options.max_attempts or (retry or task.retry).max_attempts,
        retry=retry,
        idempotency=idempotency,
    )


def request_hash(job: NewJob) -> bytes:
    """Tells a repeated request from another one: of all that was asked for, but not of the id."""
    asked = asdict(replace(job, id=UUID(int=0), idempotency=None))
    return hashlib.sha256(repr(sorted(asked.items())).encode()).digest()


def new_id() -> UUID:
    """A UUIDv7: its order is that of creation."""
    return uuid7()


def field_errors(error: ValidationError, data: object, at: str = "") -> list[FieldError]:
    """Pydantic's faults as JSON Pointers into ``data``, which stands at the pointer ``at``."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return [FieldError(at + pointer(fault["loc"], data), _plain(fault["msg"])) for fault in faults]


def pointer(location: Sequence[int | str], data: object) -> str:
    """An RFC 6901 pointer. Of a union Pydantic also names the member that was tried, which is no place in the data."""
    found = ""
    for step in location:
        is_index = isinstance(step, int) and isinstance(data, list | tuple) and step < len(data)
        is_member = isinstance(data, Mapping)
        if not (is_index or is_member):
            break
        found += "/" + str(step).replace("~", "~0").replace("/", "~1")
        data = data[step] if is_index else data.get(step)  # type: ignore[attr-defined, index]
    return found


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")

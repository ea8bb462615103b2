"""From a request for a job to the row that will be stored: options checked, defaults filled in. No I/O."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from uuid_utils.compat import uuid7

from steeple.domain.job import Idempotency, NewJob, ParentFailure
from steeple.domain.key_templates import LONGEST_KEY, Unfilled, fill, names_in
from steeple.domain.priority import QUEUE_PATTERN, Priority
from steeple.domain.retry import Retry
from steeple.domain.states import State
from steeple.domain.unique import OnConflict
from steeple.errors import FieldError, InvalidJob, TooLarge
from steeple.faults import UNSTORABLE, field_errors, is_storable, token
from steeple.store.inbox_alike import AlikeJobs
from steeple.store.tasks import TaskRecord

_NONE: Final[Mapping[str, Priority]] = MappingProxyType({})

_LATER_OPTIONS = (
    "unique_states",
    "unique_period",
    "on_conflict",
    "after",
    "on_parent_failure",
    "flow_id",
    "limits",
    "fair_key",
)

LONGEST_SECONDS = 3650 * 86400.0
"""Ten years: the longest delay and time-out."""


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError(UNSTORABLE)
    return text


def _seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


def _ids(parents: object) -> object:
    """Handles, and steps of a flow, as well as ids; one of them need not be a list."""
    if isinstance(parents, str | UUID) or hasattr(parents, "id") or not isinstance(parents, Iterable):
        parents = [parents]
    return [getattr(each, "id", each) for each in parents]


MOST_PARENTS = 10_000
"""Of one job."""

Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
QueueName = Annotated[str, Field(pattern=QUEUE_PATTERN)]
Tag = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_storable)]
Key = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_storable)]
LimitKey = Annotated[str, Field(min_length=1, max_length=LONGEST_KEY, pattern=r"^[^*]*$"), AfterValidator(_storable)]
MaxAttempts = Annotated[int, Field(ge=1, le=1000)]


class JobOptions(BaseModel):
    """What a submitter may say about a job beside its task and arguments; what is left out the task decides.

    ``delay`` and ``timeout`` are seconds; ``run_at`` and ``expires_at`` are moments with a time zone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    queue: QueueName | None = None
    priority: Priority | None = None
    run_at: Moment | None = None
    delay: Annotated[float, Field(ge=0, le=LONGEST_SECONDS)] | None = None
    expires_at: Moment | None = None
    timeout: Annotated[float, Field(gt=0, le=LONGEST_SECONDS)] | None = None
    max_attempts: MaxAttempts | None = None
    unique_key: Key | None = None
    unique_states: Annotated[list[State], Field(min_length=1)] | None = None
    unique_period: Annotated[float, Field(gt=0, le=LONGEST_SECONDS)] | None = None
    on_conflict: OnConflict | None = None
    limits: Annotated[list[LimitKey], Field(max_length=16)] = Field(default_factory=list)
    fair_key: Key | None = None
    tags: Annotated[list[Tag], Field(max_length=32)] = Field(default_factory=list)
    on_parent_failure: ParentFailure = ParentFailure.CANCEL
    flow_id: UUID | None = None

    @model_validator(mode="after")
    def _one_time_to_run(self) -> Self:
        if self.run_at is not None and self.delay is not None:
            raise ValueError("give run_at or delay, not both")
        return self

    @field_validator("unique_states")
    @classmethod
    def _taken_at_the_submit(cls, states: list[State] | None) -> list[State] | None:
        if states is not None and State.PENDING not in states:
            raise ValueError("must have PENDING among them: a job takes its key when it is submitted")
        return states

    @model_validator(mode="after")
    def _choices_about_a_key(self) -> Self:
        names = ("unique_states", "unique_period", "on_conflict")
        chosen = [name for name in names if getattr(self, name) is not None]
        if chosen and self.unique_key is None:
            raise ValueError(f"{chosen[0]} says something about a unique_key: give that, too")
        return self


class PythonOptions(JobOptions):
    """The same for callers in Python, who may also replace the task's retry policy."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retry: Retry | None = None
    idempotency_key: Key | None = None
    after: Annotated[list[UUID], BeforeValidator(_ids), Field(max_length=MOST_PARENTS)] = Field(default_factory=list)


def read_options(options: Mapping[str, Any]) -> PythonOptions:
    """Check options given in Python. Raises ``InvalidJob``."""
    try:
        return PythonOptions.model_validate({name: _seconds(value) for name, value in options.items()})
    except ValidationError as error:
        raise InvalidJob(field_errors(error, options)) from None


def leaves_priority(task: TaskRecord, options: JobOptions) -> bool:
    """True if the queue says which priority a job has, as neither its submitter nor its task does."""
    return options.priority is None and not task.names_priority


def new_job(
    task: TaskRecord,
    args: str,
    options: JobOptions,
    *,
    limit: int,
    idempotency: Idempotency | None = None,
    queue_priorities: Mapping[str, Priority] = _NONE,
    after: Sequence[UUID] = (),
) -> NewJob:
    """The job that was asked for. ``args`` is JSON text that the task accepts; over ``limit`` bytes: ``TooLarge``.

    ``queue_priorities``: those of queues that have one of their own; needed if it ``leaves_priority`` to its queue.
    """
    _require_small(args, limit)
    retry = None
    limits, fair_key = _keys(task, args, options)
    queue = options.queue or task.queue
    of_queue = queue_priorities.get(queue) if leaves_priority(task, options) else None
    if isinstance(options, PythonOptions):
        retry, after = options.retry, options.after
    return NewJob(
        id=new_id(),
        task=task.name,
        args=args,
        queue=queue,
        priority=options.priority or of_queue or task.priority,
        tags=tuple(dict.fromkeys(options.tags)),
        unique_key=options.unique_key,
        unique_states=None if options.unique_states is None else tuple(sorted(set(options.unique_states), key=_order)),
        unique_period=options.unique_period,
        on_conflict=options.on_conflict or OnConflict.REJECT,
        run_at=options.run_at,
        delay=options.delay,
        expires_at=options.expires_at,
        timeout=options.timeout or task.timeout,
        max_attempts=options.max_attempts or (retry or task.retry).max_attempts,
        retry=retry,
        idempotency=idempotency,
        after=tuple(after),
        on_parent_failure=options.on_parent_failure,
        flow_id=options.flow_id,
        limits=limits,
        fair_key=fair_key,
    )


def _order(state: State) -> int:
    return tuple(State).index(state)


def _keys(task: TaskRecord, args: str, options: JobOptions) -> tuple[tuple[str, ...], str | None]:
    """The keys of the job's limits, its own and those of its task, sorted; and its fair key."""
    if not task.limits and task.fair_key is None:
        return tuple(sorted(set(options.limits))), options.fair_key
    arguments = json.loads(args)
    try:
        limits = {*options.limits, *(fill(template, arguments) for template in task.limits)}
        fair_key = options.fair_key or (None if task.fair_key is None else fill(task.fair_key, arguments))
    except Unfilled as error:
        raise InvalidJob([FieldError("/args" + token(error.argument), str(error))]) from None
    if "" in limits or fair_key == "":
        raise InvalidJob([FieldError("/args", "make an empty key of a limit, or an empty fair key")])
    long = [key for key in (*limits, fair_key or "") if len(key) > LONGEST_KEY]
    if long:
        raise InvalidJob([FieldError("/args", f"make a key of over {LONGEST_KEY} characters: {long[0][:40]}…")])
    return tuple(sorted(limits)), fair_key


def has_keys_of_arguments(task: TaskRecord) -> bool:
    """Whether the keys of its jobs differ."""
    return any(names_in(template) for template in (*task.limits, task.fair_key or ""))


def alike_jobs(
    task: TaskRecord,
    args: Sequence[str],
    options: JobOptions,
    *,
    limit: int,
    queue_priorities: Mapping[str, Priority] = _NONE,
) -> AlikeJobs:
    """As ``new_job`` for each of ``args``, of which there is one at least. Not for ``has_keys_of_arguments``."""
    for each in args:
        _require_small(each, limit)
    pattern = new_job(task, args[0], options, limit=limit, queue_priorities=queue_priorities)
    return AlikeJobs(pattern, [new_id() for _ in args], args)


def _require_small(args: str, limit: int) -> None:
    size = len(args.encode())
    if size > limit:
        raise TooLarge("args", size, limit)


def request_hash(task: str, args: str, options: PythonOptions) -> bytes:
    """Tells a repeated request from another one, by what was asked for; what the task decides may change meanwhile."""
    asked = options.model_dump(mode="json", exclude={"idempotency_key", *_unsaid(options)})
    return hashlib.sha256(json.dumps([task, args, asked]).encode()).digest()


def _unsaid(options: PythonOptions) -> set[str]:
    """Options that came later, where nothing is said about them: so requests of before are still the same."""
    fields = PythonOptions.model_fields
    return {
        name for name in _LATER_OPTIONS if getattr(options, name) == fields[name].get_default(call_default_factory=True)
    }


def new_id() -> UUID:
    """A UUIDv7: its order is that of creation."""
    return uuid7()

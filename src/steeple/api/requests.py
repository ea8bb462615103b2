"""What requests may hold: every field checked, and none taken that is not known."""

import re
from collections import Counter
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, Any, Self, get_origin
from urllib.parse import parse_qsl
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    field_validator,
    model_validator,
)
from starlette.requests import Request

from steeple.api.examples import ARGUMENTS
from steeple.api.problem_kinds import Kind
from steeple.api.problems import Fault, refusal
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.faults import UNSTORABLE, is_storable, token
from steeple.submission import LONGEST_SECONDS, MOST_PARENTS, JobOptions, MaxAttempts, QueueName

MOST_BATCH_JOBS = 10_000
MOST_PAGE_JOBS = 1000
_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _moment(value: object) -> datetime:
    if not (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        raise ValueError("is no RFC 3339 time with a time zone, such as 2026-11-24T00:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


def _storable(value: str) -> str:
    if not is_storable(value):
        raise ValueError(UNSTORABLE)
    return value


Moment = Annotated[datetime, PlainValidator(_moment, json_schema_input_type=datetime)]
Ref = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_storable)]
Text = Annotated[str, StringConstraints(max_length=255), AfterValidator(_storable)]
Note = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_storable)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _JobRequest(JobOptions):
    """What a single submit and one of a batch have in common."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"task": "reports.render", "args": ARGUMENTS}]})

    task: Annotated[str, Field(description="The task's name.")]
    args: Annotated[dict[str, Any], Field(description="The task's arguments, by the JSON Schema of `GET /v1/tasks`.")]
    run_at: Annotated[Moment | None, Field(description="Not before this; excludes `delay`.")] = None
    expires_at: Annotated[Moment | None, Field(description="Not started by then, it fails: reason `expired`.")] = None


class SubmitRequest(_JobRequest):
    """A job to be submitted. What is left out, its task decides."""

    after: Annotated[
        list[UUID], Field(max_length=MOST_PARENTS, description="Ids of jobs that must end before it runs.")
    ] = Field(default_factory=list)


class BatchJobRequest(_JobRequest):
    """A job of a batch. Others of the batch may wait for it by its `ref`."""

    ref: Annotated[Ref | None, Field(description="What others of this batch call it in `after`; no UUID.")] = None
    after: Annotated[
        list[Ref],
        Field(
            max_length=MOST_PARENTS,
            description="Jobs that must end before it runs: ids, or what a job of this batch has as `ref`.",
        ),
    ] = Field(default_factory=list)


class BatchRequest(BaseModel):
    """Jobs to be submitted together."""

    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[list[BatchJobRequest], Field(max_length=MOST_BATCH_JOBS)]


class Nothing(BaseModel):
    """For operations that need no body: an empty object may be sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})


def _never_null(schema: dict[str, Any]) -> None:
    """In a schema the None of a member means that it may be left out, and no more."""
    for name, member in schema["properties"].items():
        (kept,) = (choice for choice in member["anyOf"] if choice != {"type": "null"})
        schema["properties"][name] = kept
    schema["examples"] = [{"priority": "high"}]


class JobChange(BaseModel):
    """What may be changed of a pending job; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_never_null)

    priority: Priority | None = None
    queue: QueueName | None = None
    run_at: Moment | None = None
    max_attempts: MaxAttempts | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        if value is None:
            raise ValueError("must not be null: leave it out, and it stays as it is")
        return value


class QueuePause(BaseModel):
    """Why a queue is paused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"note": "the archive moves"}]}
    )

    note: Annotated[Note | None, Field(description="For people: why.")] = None


class QueuePurge(BaseModel):
    """How a queue is to be emptied."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"dry_run": True}]})

    dry_run: Annotated[bool, Field(description="Count only.")] = False


class RateRequest(BaseModel):
    """How many may start in a time: a token bucket."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: Annotated[int, Field(ge=1, le=1_000_000, description="Starts per period.")]
    period: Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False, description="Seconds.")]
    burst: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, description="How many may start at once after a quiet time; else `count`."),
    ] = None


class QueueChange(BaseModel):
    """What may be set for a queue; what is left out stays as it is, null takes away what was set."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"retention": 86400.0}]})

    default_priority: Annotated[
        Priority | None, Field(description="Of jobs of which neither submitter nor task names one.")
    ] = None
    retention: Annotated[
        float | None,
        Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False, description="Seconds to keep finished jobs for."),
    ] = None
    max_running: Annotated[
        int | None, Field(ge=0, le=1_000_000, description="How many of its jobs may run at once, over all workers.")
    ] = None
    rate: RateRequest | None = None


class LimitRequest(BaseModel):
    """At least one of the two."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_running: Annotated[int | None, Field(ge=0, le=1_000_000, description="How many may run at once.")] = None
    rate: RateRequest | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.max_running is None and self.rate is None:
            raise ValueError("give max_running, rate or both")
        return self


class WeightRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)]


class KeyPage(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, description="On a page; over 1000 it is 1000.")] = 100
    cursor: Annotated[Text | None, Field(description="`next_cursor` of the page before.")] = None


class JobQuery(BaseModel):
    """The filters of the list of jobs: several values of one match any of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Annotated[list[State], Field(description="May be repeated, as may all but times, `q` and `limit`.")] = []
    task: list[Text] = []
    queue: list[Text] = []
    priority: list[Priority] = []
    tag: Annotated[list[Text], Field(description="Jobs that have any of these tags.")] = []
    created_after: Annotated[Moment | None, Field(description="At this time or later.")] = None
    created_before: Annotated[Moment | None, Field(description="Earlier than this time.")] = None
    q: Annotated[
        Text | None,
        Field(
            description="Text to look for, whatever the case, in the task's name, the tags, the unique key and the "
            "error's message, and at the beginning of the id. A whole id finds that job only."
        ),
    ] = None
    limit: Annotated[int, Field(ge=1, description=f"Jobs on a page; over {MOST_PAGE_JOBS} it is {MOST_PAGE_JOBS}.")] = (
        50
    )
    cursor: Annotated[str | None, Field(description="`next_cursor` of the page before, with the same filters.")] = None


class LogQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[int, Field(ge=0, lt=2**63, description="The `id` of the last line that is known.")] = 0
    limit: Annotated[int, Field(ge=1, description="Lines; over 1000 it is 1000.")] = 1000


class FlowQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=0, description="Of its jobs; over 1000 it is 1000.")] = 1000


class NoQuery(BaseModel):
    """For operations without query parameters: one that is sent is refused, not overlooked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WaitQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    wait: Annotated[
        Seconds | None, Field(description="Answer when the job ends, or after so many seconds; 60 at the most.")
    ] = None


class BatchQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    partial: Annotated[bool, Field(description="Store the jobs that are right, whatever is wrong with others.")] = False


def repeatable(*queries: type[BaseModel]) -> frozenset[str]:
    """The parameters of these that may have several values."""
    fields = chain.from_iterable(query.model_fields.items() for query in queries)
    return frozenset(name for name, field in fields if get_origin(field.annotation) is list)


def require_single(request: Request, but: frozenset[str]) -> None:
    """Raises ``Refusal`` if a parameter is given twice that has one value: neither would be the right one."""
    query: bytes = request.scope["query_string"]
    if not query:
        return
    counts = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    twice = [name for name, count in counts.items() if count > 1 and name not in but]
    if twice:
        faults = [Fault(token(name), "is given more than once", "query") for name in twice[:20]]
        raise refusal(Kind.INVALID_REQUEST, f"query {twice[0][:100]} is given more than once", *faults)

"""What requests about schedules may hold: every field checked, and none taken that is not known."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from steeple.api.requests import Moment, Text
from steeple.domain.priority import Priority
from steeple.domain.schedule import CatchUp, Overlap
from steeple.scheduling import (
    MOST_BACKFILL_RUNNING,
    MOST_TIMES,
    Jitter,
    Name,
    Near,
    Note,
    ScheduleOptions,
    Window,
    Zone,
)
from steeple.submission import QueueName

MOST_PAGE_SCHEDULES = 200
MOST_PAGE_FIRES = 1000
MOST_PREVIEWED = 1000

_NULLABLE = frozenset({"cron", "interval", "times", "starts_at", "ends_at"})

NearMoment = Annotated[Moment, Near]
Times = Annotated[list[NearMoment], Field(min_length=1, max_length=MOST_TIMES)]
Count = Annotated[int, Field(ge=1, description=f"Fires; over {MOST_PREVIEWED} it is {MOST_PREVIEWED}.")]


class _Timing(ScheduleOptions):
    """With times as the API reads them."""

    times: Times | None = None
    starts_at: Annotated[NearMoment | None, Field(description="No fire before this.")] = None
    ends_at: Annotated[NearMoment | None, Field(description="No fire after this.")] = None


class ScheduleRequest(_Timing):
    """A schedule to be made: one of `cron`, `interval` and `times` is needed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "n", "task": "t", "cron": "@daily"}]})

    name: Annotated[Name, Field(description="No other schedule has it.")]
    task: Annotated[str, Field(description="The task's name.")]
    args: Annotated[dict[str, Any], Field(description="The arguments of each job.")] = Field(default_factory=dict)
    paused: bool = False
    pause_note: Note | None = None


def _never_null(schema: dict[str, Any]) -> None:
    """In a schema the None of a member means that it may be left out; it stays where null says more than that."""
    for name, member in schema["properties"].items():
        if name not in _NULLABLE and "anyOf" in member:
            (kept,) = (choice for choice in member["anyOf"] if choice != {"type": "null"})
            schema["properties"][name] = kept
        schema["properties"][name].pop("default", None)
    schema["examples"] = [{"cron": "0 3 * * *"}]


class ScheduleChange(_Timing):
    """What may be changed of a schedule; what is left out stays as it is. A new rule takes the old one's place; null
    lifts a bound.
    """

    model_config = ConfigDict(json_schema_extra=_never_null)

    name: Name | None = None
    task: str | None = None
    args: dict[str, Any] | None = None
    queue: QueueName | None = None
    priority: Priority | None = None
    timezone: Zone | None = None  # type: ignore[assignment]
    jitter: Jitter | None = None  # type: ignore[assignment]
    overlap: Overlap | None = None  # type: ignore[assignment]
    catch_up: CatchUp | None = None  # type: ignore[assignment]
    catch_up_window: Window | None = None  # type: ignore[assignment]

    @field_validator(
        "name",
        "task",
        "args",
        "queue",
        "priority",
        "timezone",
        "jitter",
        "overlap",
        "catch_up",
        "catch_up_window",
        mode="before",
    )
    @classmethod
    def _is_given(cls, value: object) -> object:
        if value is None:
            raise ValueError("must not be null: leave it out, and it stays as it is")
        return value


class PreviewRequest(_Timing):
    """A rule to be tried out. What tells no time is not looked at."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"cron": "@daily"}]})

    count: Count = 10


class PauseRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"note": "moving house"}]})

    note: Annotated[Note | None, Field(description="Why, for others to read.")] = None


class BackfillRequest(BaseModel):
    """A past range, both ends within."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"from": "2026-01-01T00:00:00Z", "to": "2026-11-01T00:00:00Z", "max_running": 2}]
        },
    )

    starts_at: Annotated[NearMoment, Field(alias="from")]
    ends_at: Annotated[NearMoment, Field(alias="to", description="No later than now.")]
    max_running: Annotated[
        int, Field(ge=1, le=MOST_BACKFILL_RUNNING, description="Of its jobs, pending or running at once.")
    ] = 1


class ScheduleQuery(BaseModel):
    """The filters of the list of schedules: several values of one match any of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[list[Text], Field(description="May be repeated, as may `task`.")] = []
    task: list[Text] = []
    paused: bool | None = None
    limit: Annotated[
        int, Field(ge=1, description=f"Schedules on a page; over {MOST_PAGE_SCHEDULES} it is {MOST_PAGE_SCHEDULES}.")
    ] = 50
    cursor: Annotated[str | None, Field(description="`next_cursor` of the page before, with the same filters.")] = None


class FireQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    before: Annotated[Moment | None, Field(description="`next_before` of the page before.")] = None
    limit: Annotated[
        int, Field(ge=1, description=f"Fires on a page; over {MOST_PAGE_FIRES} it is {MOST_PAGE_FIRES}.")
    ] = 50


class PreviewQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    count: Count = 10


BODIES: Final[tuple[type[BaseModel], ...]] = (
    ScheduleRequest,
    ScheduleChange,
    PreviewRequest,
    PauseRequest,
    BackfillRequest,
)

"""What replies about schedules hold, for the OpenAPI document only: they are written by ``schedule_texts``."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from steeple.api.examples import BACKFILL, FIRE, PREVIEW, SCHEDULE
from steeple.domain.priority import Priority
from steeple.domain.schedule import CatchUp, Outcome, Overlap, Source

_Local = Annotated[list[str], Field(description="The same by the clocks of its time zone.")]


class Schedule(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [SCHEDULE]})

    id: str
    name: str
    task: str
    args: dict[str, Any]
    queue: str
    priority: Priority
    cron: str | None
    interval: Annotated[float | None, Field(description="Seconds.")]
    times: list[datetime] | None
    timezone: str
    starts_at: datetime | None
    ends_at: datetime | None
    jitter: Annotated[float, Field(description="Seconds.")]
    overlap: Overlap
    catch_up: CatchUp
    catch_up_window: Annotated[float, Field(description="Seconds.")]
    paused: bool
    pause_note: str | None
    reading: Annotated[str, Field(description="When it fires, in plain English.")]
    next_fires: Annotated[list[datetime], Field(description="The next few; none while it is paused.")]
    next_fires_local: _Local
    source: Source
    version: Annotated[int, Field(description="Counts the changes that people make; what `ETag` tells.")]
    created_at: datetime
    updated_at: datetime


class SchedulePage(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"schedules": [SCHEDULE], "next_cursor": None}]})

    schedules: list[Schedule]
    next_cursor: Annotated[str | None, Field(description="Null on the last page.")]


class Preview(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [PREVIEW]})

    reading: str
    timezone: str
    fires: list[datetime]
    fires_local: _Local


class Fire(BaseModel):
    time: Annotated[datetime, Field(description="The time that the rule says.")]
    outcome: Outcome
    why: str | None
    job_id: Annotated[str | None, Field(description="The job that it made; it may have been pruned since.")]
    backfill_id: str | None
    at: Annotated[datetime, Field(description="When it became what it is.")]


class FirePage(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"fires": [FIRE], "next_before": None}]})

    fires: Annotated[list[Fire], Field(description="The latest time first.")]
    next_before: Annotated[datetime | None, Field(description="Null on the last page.")]


class Backfill(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [BACKFILL]})

    id: str
    schedule_id: str
    starts_at: Annotated[datetime, Field(alias="from")]
    ends_at: Annotated[datetime, Field(alias="to")]
    max_running: int
    total: Annotated[int, Field(description="Its fires.")]
    waiting: Annotated[int, Field(description="Those of them that have no job yet.")]
    created_at: datetime
    finished_at: Annotated[datetime | None, Field(description="When the last of them had its job.")]


class Backfills(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"backfills": [BACKFILL]}]})

    backfills: Annotated[list[Backfill], Field(description="Newest first, the last 100.")]


REPLIES: Final[tuple[type[BaseModel], ...]] = (Schedule, SchedulePage, Preview, FirePage, Backfill, Backfills)

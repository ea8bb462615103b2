"""From what a schedule's author says to its definition, checked, and from that to its next fires. No I/O."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from steeple.cron import CronError, cron, timetable
from steeple.domain.job import NewJob
from steeple.domain.priority import Priority
from steeple.domain.schedule import DEFAULT_WINDOW_SECONDS, CatchUp, Definition, Overlap, Timetable
from steeple.errors import (
    FieldError,
    InvalidSchedule,
    TooLarge,
)
from steeple.faults import UNSTORABLE, field_errors, is_storable
from steeple.store.schedules import ScheduleView
from steeple.store.tasks import TaskRecord
from steeple.submission import LONGEST_SECONDS, Moment, QueueName, new_id

SHORTEST_INTERVAL = 1.0
MOST_TIMES = 1000
LONGEST_JITTER = 86400.0
MOST_BACKFILL_RUNNING = 1000

_RULES = ("cron", "interval", "times")
_FIRST_YEAR, _LAST_YEAR = 1900, 9000
_LONGEST_PREVIEW = timedelta(days=36525)


def _name(text: str) -> str:
    if not is_storable(text):
        raise ValueError(UNSTORABLE)
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be printable, and without spaces at its ends")
    return text


def _expression(text: str) -> str:
    try:
        cron(text)
    except CronError as error:
        raise ValueError(str(error)) from None
    return text


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() | {"UTC"}) - {"localtime", "Factory"}


def _zone(text: str) -> str:
    if text not in _zones():
        raise ValueError("is no IANA time zone, such as UTC or Europe/Berlin")
    return text


def _seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a number that is not endless")
    return value


def _near(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"must be in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment


Near = AfterValidator(_near)
"""For moments that are shown by the clocks of any zone, and counted on from."""

Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_name)]
Note = Annotated[str, Field(max_length=1000), AfterValidator(_name)]
Expression = Annotated[str, AfterValidator(_expression)]
Zone = Annotated[str, Field(max_length=100), AfterValidator(_zone)]
Interval = Annotated[
    float, Field(ge=SHORTEST_INTERVAL, le=LONGEST_SECONDS), AfterValidator(_finite), BeforeValidator(_seconds)
]
Jitter = Annotated[float, Field(ge=0, le=LONGEST_JITTER), AfterValidator(_finite), BeforeValidator(_seconds)]
Window = Annotated[float, Field(ge=0, le=LONGEST_SECONDS), AfterValidator(_finite), BeforeValidator(_seconds)]


class ScheduleOptions(BaseModel):
    """What may be said about a schedule beside its name, task and arguments; queue and priority are the task's if they
    are left out. ``interval``, ``jitter`` and ``catch_up_window`` are seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    queue: QueueName | None = None
    priority: Priority | None = None
    cron: Expression | None = None
    interval: Interval | None = None
    times: Annotated[list[Annotated[Moment, Near]], Field(min_length=1, max_length=MOST_TIMES)] | None = None
    timezone: Zone = "UTC"
    starts_at: Annotated[Moment, Near] | None = None
    ends_at: Annotated[Moment, Near] | None = None
    jitter: Jitter = 0.0
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LAST
    catch_up_window: Window = DEFAULT_WINDOW_SECONDS


class NamedOptions(ScheduleOptions):
    """The same with the name, for declarations in code."""

    name: Name


def read_declaration(options: Mapping[str, Any]) -> NamedOptions:
    """Check options given in Python. Raises ``InvalidSchedule``."""
    try:
        return NamedOptions.model_validate(options)
    except ValidationError as error:
        raise InvalidSchedule(field_errors(error, options)) from None


def define(name: str, task: TaskRecord, args: str, options: ScheduleOptions, *, limit: int | None = None) -> Definition:
    """The definition that was asked for. ``args`` is JSON text that the task accepts, of ``limit`` bytes at the most.

    Raises ``InvalidSchedule``, ``TooLarge``.
    """
    size = len(args.encode())
    if limit is not None and size > limit:
        raise TooLarge("args", size, limit)
    fields = {each: getattr(options, each) for each in ScheduleOptions.model_fields}
    fields |= {"queue": options.queue or task.queue, "priority": options.priority or task.priority}
    if options.times is not None:
        fields["times"] = tuple(sorted(set(options.times)))
    return checked(Definition(name=name, task=task.name, args=args, **fields))


def checked(definition: Definition) -> Definition:
    """The definition, if its parts go together. Raises ``InvalidSchedule``."""
    given = [rule for rule in _RULES if getattr(definition, rule) is not None]
    if len(given) != 1:
        told = f"and not {' and '.join(given)}" if given else "and one is needed"
        pointer = f"/{given[1]}" if given else ""
        raise InvalidSchedule([FieldError(pointer, f"give one of cron, interval and times, {told}")])
    if definition.starts_at and definition.ends_at and definition.ends_at <= definition.starts_at:
        raise InvalidSchedule([FieldError("/ends_at", "must be after starts_at")])
    return definition


def timetable_of(schedule: ScheduleView) -> Timetable:
    return timetable(schedule.definition, schedule.id, schedule.anchor)


def planned(schedule: ScheduleView, now: datetime) -> ScheduleView:
    """The schedule with its first fire after ``now``."""
    table = timetable_of(schedule)
    found = table.following(now)
    return schedule.with_next(found, None if found is None else table.due(found))


def next_fires(schedule: ScheduleView, count: int) -> list[datetime]:
    """When its next fires are due, as many as there are up to ``count``."""
    if schedule.next_time is None or count < 1:
        return []
    table = timetable_of(schedule)
    return [table.due(time) for time in (schedule.next_time, *table.upcoming(schedule.next_time, count - 1))]


def preview(schedule: ScheduleView, now: datetime, count: int) -> list[datetime]:
    """When its next ``count`` fires are due, were it not paused; those of a hundred years at the most."""
    table = timetable_of(schedule)
    return [table.due(time) for time in _upcoming(table, now, count)]


def preview_rule(definition: Definition, now: datetime, count: int) -> list[datetime]:
    """The same of what is not kept yet; without jitter, which is each schedule's own."""
    return list(_upcoming(timetable(replace(definition, jitter=0.0), UUID(int=0), now), now, count))


def _upcoming(table: Timetable, now: datetime, count: int) -> Iterator[datetime]:
    return takewhile(lambda time: time <= now + _LONGEST_PREVIEW, islice(table.after(now), count))


def job_of(schedule_id: UUID, definition: Definition, task: TaskRecord) -> NewJob:
    """A job of a schedule. What that does not say, its task decides now."""
    return NewJob(
        id=new_id(),
        task=task.name,
        args=definition.args,
        queue=definition.queue,
        priority=definition.priority,
        timeout=task.timeout,
        max_attempts=task.retry.max_attempts,
        schedule_id=schedule_id,
    )

"""From what a schedule's author says to the row that is kept, with its next fire: options checked, changes made under
the row's lock. For the API and for programs alike.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from steeple.cron import CronError, cron, timetable
from steeple.domain.priority import Priority
from steeple.domain.schedule import DEFAULT_WINDOW_SECONDS, CatchUp, Definition, Overlap, Source, Timetable
from steeple.errors import (
    FieldError,
    InvalidSchedule,
    ScheduleChanged,
    ScheduleIsCode,
    ScheduleNameTaken,
    TooLarge,
)
from steeple.faults import UNSTORABLE, field_errors, is_storable
from steeple.store import backfills, schedules
from steeple.store.backfills import NewBackfill
from steeple.store.engine import Connection
from steeple.store.schedules import ScheduleView
from steeple.store.tasks import TaskRecord
from steeple.submission import LONGEST_SECONDS, Moment, QueueName

SHORTEST_INTERVAL = 1.0
MOST_TIMES = 1000
LONGEST_JITTER = 86400.0
MOST_BACKFILL_FIRES = 10_000
MOST_BACKFILL_RUNNING = 1000

_RULES = ("cron", "interval", "times")


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
    times: Annotated[list[Moment], Field(min_length=1, max_length=MOST_TIMES)] | None = None
    timezone: Zone = "UTC"
    starts_at: Moment | None = None
    ends_at: Moment | None = None
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


def create(
    connection: Connection,
    schedule_id: UUID,
    definition: Definition,
    *,
    paused: bool = False,
    note: str | None = None,
    now: datetime | None = None,
) -> ScheduleView:
    """Keep a new schedule; again with the same id is as good as once. Raises ``ScheduleNameTaken``."""
    moment = schedules.clock(connection, now)
    made = _new(schedule_id, definition, Source.API, moment, paused=paused, note=note)
    if schedules.insert(connection, made):
        return made
    holder = schedules.read_named(connection, [definition.name]).get(definition.name)
    if holder is not None and holder.id == schedule_id:
        return holder
    raise ScheduleNameTaken(definition.name, str(holder.id) if holder is not None else "another")


def change(
    connection: Connection,
    schedule_id: UUID,
    edit: Callable[[ScheduleView], Definition],
    *,
    version: int | None = None,
    now: datetime | None = None,
) -> ScheduleView:
    """Change what a schedule says. Where that tells when it fires, its next fire is the first after now.

    Raises ``ScheduleNotFound``, ``ScheduleChanged`` unless it is of this ``version``, ``ScheduleIsCode``,
    ``ScheduleNameTaken``, and what ``edit`` does.
    """
    found = locked(connection, schedule_id, version)
    if found.source is Source.CODE:
        raise ScheduleIsCode(str(schedule_id), found.definition.name)
    return _rewritten(connection, found, edit(found), schedules.clock(connection, now))


def pause(connection: Connection, schedule_id: UUID, note: str | None, *, version: int | None = None) -> ScheduleView:
    """No fires until it is resumed. Raises ``ScheduleNotFound``, ``ScheduleChanged``."""
    found = locked(connection, schedule_id, version)
    if found.paused and note == found.pause_note:
        return found
    return _written(connection, replace(found, paused=True, pause_note=note))


def resume(
    connection: Connection, schedule_id: UUID, *, version: int | None = None, now: datetime | None = None
) -> ScheduleView:
    """Fires again, from the first time after now on. Raises ``ScheduleNotFound``, ``ScheduleChanged``."""
    found = locked(connection, schedule_id, version)
    if not found.paused:
        return found
    resumed = replace(found, paused=False, pause_note=None)
    return _written(connection, planned(resumed, schedules.clock(connection, now)))


def delete(connection: Connection, schedule_id: UUID, *, version: int | None = None) -> None:
    """Raises ``ScheduleNotFound``, ``ScheduleChanged``."""
    locked(connection, schedule_id, version)
    schedules.delete(connection, schedule_id)


def locked(connection: Connection, schedule_id: UUID, version: int | None = None) -> ScheduleView:
    """The schedule, until the transaction's end. Raises ``ScheduleNotFound``, ``ScheduleChanged``."""
    found = schedules.lock(connection, schedule_id)
    if version not in (None, found.version):
        raise ScheduleChanged(str(schedule_id), found.version)
    return found


def declare(
    connection: Connection, declared: Sequence[tuple[UUID, Definition]], *, now: datetime | None = None
) -> list[str]:
    """Keep what code declares, each under its id if it is new; what is the same as before is not touched.

    Returns the names that are those of schedules made over the API, which are left as they are. A schedule that code no
    longer declares is left, too: other parts may run other code.
    """
    moment = schedules.clock(connection, now)
    taken: list[str] = []
    known = schedules.read_named(connection, [definition.name for _, definition in declared])
    for schedule_id, definition in sorted(declared, key=lambda each: each[1].name):
        made = _new(schedule_id, definition, Source.CODE, moment)
        if definition.name not in known and schedules.insert(connection, made):
            continue
        holder = known.get(definition.name) or schedules.read_named(connection, [definition.name])[definition.name]
        if holder.source is not Source.CODE:
            taken.append(definition.name)
        elif not schedules.is_same(holder.definition, definition):
            _rewritten(connection, schedules.lock(connection, holder.id), definition, moment)
    return taken


def backfill(connection: Connection, new: NewBackfill, *, now: datetime | None = None) -> NewBackfill:
    """Put down the fires of a past range, from its start to its end or to now. Raises ``ScheduleNotFound``,
    ``InvalidSchedule`` if there are too many.
    """
    schedule = schedules.lock(connection, new.schedule_id)
    kept = replace(new, ends_at=min(new.ends_at, schedules.clock(connection, now)))
    if kept.starts_at > kept.ends_at:
        raise InvalidSchedule([FieldError("/from", "must be in the past, and before `to`")])
    times: list[datetime] = []
    for time in timetable_of(schedule).after(kept.starts_at - timedelta(microseconds=1)):
        if time > kept.ends_at:
            break
        if len(times) == MOST_BACKFILL_FIRES:
            detail = f"is too far from `from`: a backfill has {MOST_BACKFILL_FIRES} fires at the most"
            raise InvalidSchedule([FieldError("/to", detail)])
        times.append(time)
    backfills.insert(connection, kept, times)
    return kept


def _new(
    schedule_id: UUID,
    definition: Definition,
    source: Source,
    now: datetime,
    *,
    paused: bool = False,
    note: str | None = None,
) -> ScheduleView:
    made = ScheduleView(schedule_id, definition, source, 1, now, paused, note, None, None, now, now)
    return planned(made, now)


def _rewritten(connection: Connection, schedule: ScheduleView, definition: Definition, now: datetime) -> ScheduleView:
    changed = replace(schedule, definition=definition)
    if definition.timing != schedule.definition.timing:
        changed = planned(replace(changed, anchor=now), now)
    return _written(connection, changed)


def _written(connection: Connection, schedule: ScheduleView) -> ScheduleView:
    schedules.update(connection, schedule)
    return schedules.read(connection, schedule.id)

"""Everything that is done to schedules, each under the lock of its row: made, changed, paused, run, filled back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from steeple.domain.job import NewJob
from steeple.domain.schedule import Definition, Outcome, Source
from steeple.errors import FieldError, InvalidSchedule, ScheduleChanged, ScheduleIsCode, ScheduleNameTaken
from steeple.scheduling import planned, timetable_of
from steeple.store import backfills, fires, schedules
from steeple.store.backfills import NewBackfill
from steeple.store.engine import Connection
from steeple.store.fires import Fire, FireKey
from steeple.store.inbox import insert_jobs
from steeple.store.schedules import ScheduleView

MOST_BACKFILL_FIRES = 10_000


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
            _redeclare(connection, holder.id, definition, moment)
    return taken


def _redeclare(connection: Connection, schedule_id: UUID, definition: Definition, now: datetime) -> None:
    """Once, of parts that start together with the same code."""
    found = schedules.lock(connection, schedule_id)
    if not schedules.is_same(found.definition, definition):
        _rewritten(connection, found, definition, now)


def past_times(schedule: ScheduleView, new: NewBackfill, now: datetime) -> list[datetime]:
    """The times of a backfill, from its start to its end or to now. Takes a while: no I/O.

    Raises ``InvalidSchedule`` if the range is not in the past, or there are too many.
    """
    last = min(new.ends_at, now)
    if new.starts_at > last:
        raise InvalidSchedule([FieldError("/from", "must be in the past, and before `to`")])
    times: list[datetime] = []
    for time in timetable_of(schedule).after(new.starts_at - timedelta(microseconds=1)):
        if time > last:
            break
        if len(times) == MOST_BACKFILL_FIRES:
            detail = f"is too far from `from`: a backfill has {MOST_BACKFILL_FIRES} fires at the most"
            raise InvalidSchedule([FieldError("/to", detail)])
        times.append(time)
    return times


def backfill(
    connection: Connection, new: NewBackfill, times: Sequence[datetime], *, version: int | None = None
) -> None:
    """Put down the fires of a past range; schedulers make their jobs. Raises ``ScheduleNotFound``,
    ``ScheduleChanged``.
    """
    locked(connection, new.schedule_id, version)
    backfills.insert(connection, new, times)


def run(connection: Connection, job: NewJob, schedule_id: UUID, *, version: int | None = None) -> None:
    """Fire now, whatever the rule and earlier jobs: ``job`` is the schedule's. Again with the same job is as good as
    once. Raises ``ScheduleNotFound``, ``ScheduleChanged``.
    """
    locked(connection, schedule_id, version)
    insert_jobs(connection, [job])
    key = FireKey(schedule_id, schedules.clock(connection))
    fires.record(connection, [Fire(key, Outcome.FIRED, "run by hand", job.id)])


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

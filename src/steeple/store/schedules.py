"""Schedules: kept, found, changed. When they fire next is computed by the callers; what is due is in ``fires``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, overload
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from steeple.domain.priority import Priority
from steeple.domain.schedule import CatchUp, Definition, Overlap, Source
from steeple.errors import ScheduleNameTaken, ScheduleNotFound
from steeple.store.encoding import dump

# The database's time, by which all that schedules do is timed.
_NOW = text("SELECT COALESCE(CAST(:now AS timestamptz), now())")

# A new schedule; none if the name is taken, be it by one that is about to be committed.
_INSERT = text("""
INSERT INTO schedules (id, name, source, task, args, queue, priority, cron, every, times, timezone, anchor, starts_at,
                       ends_at, jitter, overlap, catch_up, catch_up_window, paused, pause_note, next_time, next_due)
VALUES (:id, :name, :source, :task, CAST(:args AS json), :queue, :priority, :cron, :interval,
        CAST(:times AS timestamptz[]), :timezone, :anchor, :starts_at, :ends_at, :jitter, :overlap, :catch_up,
        :catch_up_window, :paused, :pause_note, :next_time, :next_due)
ON CONFLICT (name) DO NOTHING
RETURNING id
""")

# Everything of a schedule but its id and source; whatever people change raises the version.
_UPDATE = text("""
UPDATE schedules SET
    version = version + 1, name = :name, task = :task, args = CAST(:args AS json), queue = :queue,
    priority = :priority, cron = :cron, every = :interval, times = CAST(:times AS timestamptz[]),
    timezone = :timezone, anchor = :anchor, starts_at = :starts_at, ends_at = :ends_at, jitter = :jitter,
    overlap = :overlap, catch_up = :catch_up, catch_up_window = :catch_up_window, paused = :paused,
    pause_note = :pause_note, next_time = :next_time, next_due = :next_due, updated_at = now()
WHERE id = :id
""")

# Who has a name.
_NAMED = text("SELECT id FROM schedules WHERE name = :name")

# One schedule, locked for a change.
_LOCK = text("""
SELECT id, name, source, version, task, CAST(args AS text) AS args, queue, priority, cron, every, times, timezone,
       anchor, starts_at, ends_at, jitter, overlap, catch_up, catch_up_window, paused, pause_note, next_time, next_due,
       created_at, updated_at
FROM schedules WHERE id = :id FOR UPDATE
""")

# Schedules that match, newest first.
_LIST = text("""
SELECT id, name, source, version, task, CAST(args AS text) AS args, queue, priority, cron, every, times, timezone,
       anchor, starts_at, ends_at, jitter, overlap, catch_up, catch_up_window, paused, pause_note, next_time, next_due,
       created_at, updated_at
FROM schedules
WHERE id < :before
  AND (CAST(:ids AS uuid[]) IS NULL OR id = ANY (CAST(:ids AS uuid[])))
  AND (CAST(:names AS text[]) IS NULL OR name = ANY (CAST(:names AS text[])))
  AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
  AND (CAST(:paused AS boolean) IS NULL OR paused = CAST(:paused AS boolean))
ORDER BY id DESC LIMIT :limit
""")

# Deletes a schedule with its fires and backfills; the jobs that it made stay.
_DELETE = text("DELETE FROM schedules WHERE id = :id RETURNING id")

_LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True)
class ScheduleView:
    """A schedule as it is kept. ``anchor``: what an interval counts from. ``next_time`` None: it fires no more."""

    id: UUID
    definition: Definition
    source: Source
    version: int
    anchor: datetime
    paused: bool
    pause_note: str | None
    next_time: datetime | None
    next_due: datetime | None
    created_at: datetime
    updated_at: datetime

    def with_next(self, time: datetime | None, due: datetime | None) -> "ScheduleView":
        return replace(self, next_time=time, next_due=due)


@dataclass(frozen=True)
class ScheduleFilter:
    """Which schedules to list; what is empty matches all."""

    names: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    paused: bool | None = None


def clock(connection: Connection, now: datetime | None = None) -> datetime:
    """The database's time; the same throughout a transaction."""
    found: datetime = connection.execute(_NOW, {"now": now}).scalar_one()
    return utc(found)


@overload
def utc(moment: datetime) -> datetime: ...
@overload
def utc(moment: datetime | None) -> datetime | None: ...
def utc(moment: datetime | None) -> datetime | None:
    """What comes from the database may be in its own zone, whose clock cannot be reckoned with: behind a pooler nobody
    has told it ours.
    """
    return None if moment is None else moment.astimezone(UTC)


def insert(connection: Connection, schedule: ScheduleView) -> bool:
    """False if its name is taken; that of itself, too, if this was done before."""
    return connection.execute(_INSERT, _parameters(schedule)).first() is not None


def update(connection: Connection, schedule: ScheduleView) -> None:
    """Write all that can change, of a schedule that is locked. Raises ``ScheduleNameTaken``."""
    try:
        with connection.begin_nested():
            connection.execute(_UPDATE, _parameters(schedule))
    except IntegrityError as error:
        holder = connection.execute(_NAMED, {"name": schedule.definition.name}).scalar()
        raise ScheduleNameTaken(schedule.definition.name, str(holder or "another")) from error


def lock(connection: Connection, schedule_id: UUID) -> ScheduleView:
    """Raises ``ScheduleNotFound``."""
    row = connection.execute(_LOCK, {"id": schedule_id}).first()
    if row is None:
        raise ScheduleNotFound(str(schedule_id))
    return _view(row)


def read(connection: Connection, schedule_id: UUID) -> ScheduleView:
    """Raises ``ScheduleNotFound``."""
    found = _list(connection, ScheduleFilter(), limit=1, ids=[schedule_id])
    if not found:
        raise ScheduleNotFound(str(schedule_id))
    return found[0]


def read_named(connection: Connection, names: Sequence[str]) -> dict[str, ScheduleView]:
    """The schedules of these names that there are."""
    if not names:
        return {}
    found = _list(connection, ScheduleFilter(names=tuple(names)), limit=len(names))
    return {each.definition.name: each for each in found}


def read_page(
    connection: Connection, wanted: ScheduleFilter, *, limit: int, before: UUID | None = None
) -> tuple[list[ScheduleView], UUID | None]:
    """Up to ``limit`` schedules with ids before ``before``, newest first, and where the next page begins."""
    found = _list(connection, wanted, limit=limit + 1, before=before)
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def delete(connection: Connection, schedule_id: UUID) -> None:
    """Raises ``ScheduleNotFound``."""
    if connection.execute(_DELETE, {"id": schedule_id}).first() is None:
        raise ScheduleNotFound(str(schedule_id))


def _list(
    connection: Connection,
    wanted: ScheduleFilter,
    *,
    limit: int,
    before: UUID | None = None,
    ids: Sequence[UUID] | None = None,
) -> list[ScheduleView]:
    parameters = {
        "before": before or _LAST_ID,
        "ids": ids,
        "names": list(wanted.names) or None,
        "tasks": list(wanted.tasks) or None,
        "paused": wanted.paused,
        "limit": limit,
    }
    return [_view(row) for row in connection.execute(_LIST, parameters)]


def _parameters(schedule: ScheduleView) -> dict[str, Any]:
    definition = schedule.definition
    fields = vars(definition) | {
        "priority": definition.priority.rank,
        "times": None if definition.times is None else list(definition.times),
    }
    kept = ("id", "source", "anchor", "paused", "pause_note", "next_time", "next_due")
    return fields | {name: getattr(schedule, name) for name in kept}


def _view(row: Row[Any]) -> ScheduleView:
    return ScheduleView(
        id=row.id,
        definition=definition_of(row),
        source=Source(row.source),
        version=row.version,
        anchor=utc(row.anchor),
        paused=row.paused,
        pause_note=row.pause_note,
        next_time=utc(row.next_time),
        next_due=utc(row.next_due),
        created_at=utc(row.created_at),
        updated_at=utc(row.updated_at),
    )


def definition_of(row: Row[Any]) -> Definition:
    """What a row of schedules says; its ``args`` are text."""
    return Definition(
        name=row.name,
        task=row.task,
        args=row.args,
        queue=row.queue,
        priority=Priority.from_rank(row.priority),
        cron=row.cron,
        interval=row.every,
        times=None if row.times is None else tuple(map(utc, row.times)),
        timezone=row.timezone,
        starts_at=utc(row.starts_at),
        ends_at=utc(row.ends_at),
        jitter=row.jitter,
        overlap=Overlap(row.overlap),
        catch_up=CatchUp(row.catch_up),
        catch_up_window=row.catch_up_window,
    )


def is_same(one: Definition, other: Definition) -> bool:
    """Whether they say the same; arguments may be written in another way."""
    return replace(one, args=_canonical(one.args)) == replace(other, args=_canonical(other.args))


def _canonical(args: str) -> str:
    return dump(json.loads(args))

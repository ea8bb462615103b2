"""Cron expressions: which wall times they mean, and what they say in words. Read by cronsim, as Debian's cron does; how
they meet a zone's clock is in ``domain.wall_clock``.
"""

import copy
from datetime import datetime
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from steeple.domain.schedule import AtTimes, Definition, Every, InZone, Rule, Timetable

LONGEST_EXPRESSION = 200

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
_HOURS = 24
_ANY_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall time

_UNITS = ((604800, "week"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class CronError(ValueError):
    """An expression that means nothing; the message says which part of it."""


class Cron:
    """A pattern of wall times. Five fields, minute first, or six with seconds before them; or a nickname such as
    ``@daily``. Raises ``CronError``.
    """

    def __init__(self, expression: str) -> None:
        self._simulator = _simulator(expression)
        _, minute, hour, *_ = self._simulator.parts
        self.repeats = minute.startswith("*") or hour.startswith("*")
        """Whether it is an interval, and not a fixed time: then an hour that comes twice counts twice."""
        self.makes_up = len(self._simulator.hours) < _HOURS
        """Whether it names hours: then one that does not come must not be without its fire."""

    def following(self, wall: datetime) -> datetime | None:
        found = copy.copy(self._simulator)
        found.dt = wall
        try:
            return next(found)
        except (StopIteration, OverflowError):
            return None

    def explain(self) -> str:
        return self._simulator.explain()


def _simulator(expression: str) -> CronSim:
    plain = _NICKNAMES.get(expression.strip().lower(), expression)
    if plain.lstrip().startswith("@"):
        raise CronError(f"is no nickname: these are known: {', '.join(_NICKNAMES)}")
    if len(plain) > LONGEST_EXPRESSION:
        raise CronError(f"is longer than {LONGEST_EXPRESSION} characters")
    fields = plain.split()
    if len(fields) not in (5, 6):
        raise CronError(f"has {len(fields)} fields: write 5, minute hour day month weekday, or 6 with seconds first")
    try:
        return CronSim(plain, _ANY_DAY)
    except CronSimError as error:
        raise CronError(_explained(str(error), fields)) from None


def _explained(message: str, fields: list[str]) -> str:
    name = message.removeprefix("Bad ")
    if name not in _FIELDS:
        return message
    given = fields[_FIELDS.index(name) - (6 - len(fields))]
    return f"its {name} field {given!r} cannot be, or not together with the others"


@lru_cache(maxsize=20_000)
def cron(expression: str) -> Cron:
    """The same each time: to read an expression takes longer than to use it."""
    return Cron(expression)


def timetable(definition: Definition, schedule_id: UUID, anchor: datetime) -> Timetable:
    """``anchor`` is what an interval without a start counts from."""
    return Timetable(
        _rule(definition, anchor), schedule_id, definition.starts_at, definition.ends_at, definition.jitter
    )


def _rule(definition: Definition, anchor: datetime) -> Rule:
    if definition.cron is not None:
        return InZone(cron(definition.cron), ZoneInfo(definition.timezone))
    if definition.interval is not None:
        return Every(definition.interval, definition.starts_at or anchor)
    return AtTimes(definition.times or ())


def reading(definition: Definition) -> str:
    """When it fires, in plain English."""
    if definition.cron is not None:
        return f"{cron(definition.cron).explain()}, {definition.timezone} time"
    if definition.interval is not None:
        return _every(definition.interval)
    times = definition.times or ()
    first = times[0].astimezone(ZoneInfo(definition.timezone)).isoformat(" ", "seconds")
    return f"Once, at {first}" if len(times) == 1 else f"At {len(times)} given times, the first at {first}"


def _every(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds % size == 0:
            count = int(seconds // size)
            return f"Every {unit}" if count == 1 else f"Every {count} {unit}s"
    return f"Every {seconds:g} seconds"

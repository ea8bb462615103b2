"""What a cron expression must do in a zone, minute by minute: by looking at a clock on the wall each minute, with
nothing of what Steeple does. The expression comes as sets of numbers, so nothing is parsed here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
_LOOK_BACK = 6 * HOUR
"""By more no clock was put back in these thirty years."""


@dataclass(frozen=True)
class Field:
    """``text`` is how the numbers are written."""

    text: str
    numbers: frozenset[int]

    @property
    def is_star(self) -> bool:
        return self.text.startswith("*")


@dataclass(frozen=True)
class Expression:
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    """0 is Sunday."""

    @property
    def text(self) -> str:
        return " ".join(each.text for each in (self.minute, self.hour, self.day, self.month, self.weekday))

    @property
    def is_interval(self) -> bool:
        return self.minute.is_star or self.hour.is_star

    def shows(self, wall: datetime) -> bool:
        """Whether a clock that shows this is at a time of the expression."""
        if wall.minute not in self.minute.numbers or wall.hour not in self.hour.numbers:
            return False
        if wall.month not in self.month.numbers:
            return False
        day, weekday = wall.day in self.day.numbers, wall.isoweekday() % 7 in self.weekday.numbers
        return day and weekday if self.day.is_star or self.weekday.is_star else day or weekday


def fires(expression: Expression, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """The moments from ``start`` to before ``end``, both whole minutes in UTC."""
    return [moment for moment in _fires(expression, zone, start - _LOOK_BACK, end) if moment >= start]


def _fires(expression: Expression, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    shown: set[datetime] = set()
    names_hours = len(expression.hour.numbers) < 24
    moment = start
    due = _clock(zone, start)
    while moment < end:
        wall = _clock(zone, moment)
        skipped = _minutes(due, wall)
        counts = wall not in shown or expression.is_interval
        is_made_up = names_hours and any(map(expression.shows, skipped))
        if is_made_up or (counts and expression.shows(wall)):
            yield moment
        shown.add(wall)
        due = wall + MINUTE
        moment += MINUTE


def _minutes(start: datetime, end: datetime) -> list[datetime]:
    """Those that no clock showed, if it was put forward from ``start`` to ``end``."""
    found = []
    while start < end:
        found.append(start)
        start += MINUTE
    return found


def _clock(zone: ZoneInfo, moment: datetime) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def shifts(zone: ZoneInfo, year: int) -> list[datetime]:
    """The hours of a year, in UTC, within which the clocks were put forward or back."""
    hours = (datetime(year, 1, 1, tzinfo=UTC) + number * HOUR for number in range(366 * 24))
    return [hour for hour in hours if hour.astimezone(zone).utcoffset() != (hour + HOUR).astimezone(zone).utcoffset()]

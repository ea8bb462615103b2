"""From what a clock on the wall shows to moments, where clocks are put forward and back. Pure.

Between two transitions of a zone its clock runs evenly; each such stretch is looked at by itself. A rule comes as a
pattern of wall times that knows nothing of zones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

_PROBE = timedelta(days=2)
"""No zone has had two transitions closer to each other since 1970 (a test looks at all of them)."""

_SECOND = timedelta(seconds=1)
_FIRST_YEAR, _LAST_YEAR = 2, 9998


class WallPattern(Protocol):
    """Wall times, without a zone.

    ``repeats``: in an hour that comes twice, it means both. ``makes_up``: what falls into a gap is due at its end.
    """

    @property
    def repeats(self) -> bool: ...

    @property
    def makes_up(self) -> bool: ...

    def following(self, wall: datetime) -> datetime | None:
        """The first wall time after ``wall``, which is naive and of whole seconds; None if there is none."""


@dataclass(frozen=True)
class Transition:
    """At ``moment`` the offset from UTC changes."""

    moment: datetime
    before: timedelta
    after: timedelta

    @property
    def wall_before(self) -> datetime:
        """What the clock would have shown."""
        return _naive(self.moment) + self.before

    @property
    def wall_after(self) -> datetime:
        """What it is put to."""
        return _naive(self.moment) + self.after


def next_moment(pattern: WallPattern, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first moment after ``after`` at which the pattern is due in ``zone``, in UTC; None if it never is again.

    A wall time in a gap (clocks put forward) is due at the gap's end if the pattern makes it up, and otherwise not at
    all. Of a wall time that comes twice (clocks put back), both are due if the pattern repeats, else the first only.
    """
    after = after.astimezone(UTC)
    if not _FIRST_YEAR <= after.year <= _LAST_YEAR:
        return None
    offset = _offset(zone, after)
    wall = (_naive(after) + offset).replace(microsecond=0)
    if not pattern.repeats:
        wall = max(wall, _end_of_first_pass(zone, after) - _SECOND)
    return _search(pattern, zone, after, wall, offset)


def _search(
    pattern: WallPattern, zone: ZoneInfo, after: datetime, wall: datetime, offset: timedelta
) -> datetime | None:
    """``wall`` and ``offset`` are those of ``after``, to begin with."""
    while True:
        found = pattern.following(wall)
        if found is None or found.year > _LAST_YEAR:
            return None
        moment = _aware(found - offset)
        change = _first_transition(zone, after, moment)
        if change is None:
            return moment
        if pattern.makes_up and found < change.wall_after:
            return change.moment
        after, offset = change.moment, change.after
        wall = (change.wall_after if pattern.repeats else max(change.wall_before, change.wall_after)) - _SECOND


def _end_of_first_pass(zone: ZoneInfo, moment: datetime) -> datetime:
    """The wall time from which on what the clock shows at ``moment`` has not been shown before."""
    past = [each for each in _transitions(zone, moment.year - 1) if each.moment <= moment]
    past += [each for each in _transitions(zone, moment.year) if each.moment <= moment]
    return max((each.wall_before for each in past[-2:]), default=_naive(moment) - 2 * _PROBE)


def _first_transition(zone: ZoneInfo, after: datetime, until: datetime) -> Transition | None:
    """The first after ``after``, up to and with ``until``."""
    for year in range(after.year, until.year + 1):
        for each in _transitions(zone, year):
            if after < each.moment <= until:
                return each
    return None


@lru_cache(maxsize=4096)
def _transitions(zone: ZoneInfo, year: int) -> tuple[Transition, ...]:
    """Those within a year of UTC, in their order."""
    return tuple(_find_transitions(zone, year))


def _find_transitions(zone: ZoneInfo, year: int) -> Iterator[Transition]:
    moment, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    offset = _offset(zone, moment - _SECOND)
    if offset != _offset(zone, moment):
        yield Transition(moment, offset, _offset(zone, moment))
    while moment < end:
        following = min(moment + _PROBE, end - _SECOND)
        before, later = _offset(zone, moment), _offset(zone, following)
        if before != later:
            yield Transition(_bisected(zone, moment, following), before, later)
        moment = moment + _PROBE


def _bisected(zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    """The second at which the offset is no longer that of ``early``."""
    before = _offset(zone, early)
    while late - early > _SECOND:
        middle = early + timedelta(seconds=(late - early) // _SECOND // 2)
        if _offset(zone, middle) == before:
            early = middle
        else:
            late = middle
    return late


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    found = moment.astimezone(zone).utcoffset()
    assert found is not None
    return found


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)

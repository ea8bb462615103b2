"""When a schedule fires: its rule, its bounds and jitter, and which fires are still wanted after a time of none. Pure.

A fire's *time* is what the rule says, and is its name; it is *due* at that time plus the jitter.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from steeple.domain.priority import Priority
from steeple.domain.wall_clock import WallPattern, next_moment

ON_TIME_SECONDS = 5.0
"""A fire that is no later than this was not missed: a scheduler was started again, or had much to do."""

DEFAULT_WINDOW_SECONDS = 86400.0

_MICROSECOND = timedelta(microseconds=1)
_LARGEST_FRACTION = float(2**64)


class Overlap(StrEnum):
    """What a fire does while an earlier job of its schedule is pending or running."""

    SKIP = "skip"
    """Nothing: this one is left out."""

    QUEUE = "queue"
    """It waits until that has ended; one waits at the most."""

    ALLOW = "allow"
    """It makes its job all the same."""

    CANCEL = "cancel"
    """It has that cancelled, and waits until it has ended."""


class CatchUp(StrEnum):
    """Which fires are made up that fell due while no scheduler was running."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Source(StrEnum):
    """Where a schedule is kept: made over the API, or declared beside its task."""

    API = "api"
    CODE = "code"


class Outcome(StrEnum):
    """What became of a fire."""

    FIRED = "fired"
    """It made a job."""

    QUEUED = "queued"
    """It waits to make one."""

    SKIPPED = "skipped"
    """An earlier job was still there."""

    CANCELLED = "cancelled"
    """It waited, and a later fire took its place."""

    MISSED = "missed"
    """Nobody was there to fire it, and it was not to be made up."""

    FAILED = "failed"
    """It could make no job: ``why`` says what is wrong with the schedule."""


@dataclass(frozen=True)
class Definition:
    """What a schedule is, as its author gives it. ``args`` is JSON text; one of ``cron``, ``interval`` and ``times`` is
    set. ``interval``, ``jitter`` and ``catch_up_window`` are seconds.
    """

    name: str
    task: str
    args: str
    queue: str
    priority: Priority
    cron: str | None = None
    interval: float | None = None
    times: tuple[datetime, ...] | None = None
    timezone: str = "UTC"
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    jitter: float = 0.0
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LAST
    catch_up_window: float = DEFAULT_WINDOW_SECONDS

    @property
    def timing(self) -> tuple[object, ...]:
        """All that tells when it fires: if it changes, the next fire is looked for anew."""
        rule = (self.cron, self.interval, self.times, self.timezone)
        return (*rule, self.starts_at, self.ends_at, self.jitter)


class Rule(Protocol):
    def following(self, after: datetime) -> datetime | None:
        """The first time after ``after``, in UTC; None if there is none."""


@dataclass(frozen=True)
class InZone:
    """Wall times of a zone."""

    pattern: WallPattern
    zone: ZoneInfo

    def following(self, after: datetime) -> datetime | None:
        return next_moment(self.pattern, self.zone, after)


@dataclass(frozen=True)
class Every:
    """Every so many seconds, ``anchor`` being one of the times."""

    seconds: float
    anchor: datetime

    def following(self, after: datetime) -> datetime | None:
        step = timedelta(seconds=self.seconds)
        try:
            return self.anchor + step * ((after - self.anchor) // step + 1)
        except OverflowError:
            return None


@dataclass(frozen=True)
class AtTimes:
    times: tuple[datetime, ...]

    def following(self, after: datetime) -> datetime | None:
        return min((each for each in self.times if each > after), default=None)


@dataclass(frozen=True)
class Timetable:
    """A rule between its bounds, both of which are within. ``seed`` is the schedule's id: it makes the jitter the same
    for whoever computes it."""

    rule: Rule
    seed: UUID
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    jitter: float = 0.0

    def following(self, after: datetime) -> datetime | None:
        """The first time after ``after``."""
        if self.starts_at is not None:
            after = max(after, self.starts_at - _MICROSECOND)
        found = self.rule.following(after)
        return None if found is None or (self.ends_at is not None and found > self.ends_at) else found

    def due(self, time: datetime) -> datetime:
        """When the fire of this time is to be made."""
        if not self.jitter:
            return time
        name = self.seed.bytes + time.astimezone(UTC).isoformat().encode()
        drawn = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())
        return time + timedelta(seconds=self.jitter * (drawn / _LARGEST_FRACTION))

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The times after ``moment``, in their order."""
        found = self.following(moment)
        while found is not None:
            yield found
            found = self.following(found)

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """The first ``count`` times after ``moment``."""
        return list(islice(self.after(moment), count))


@dataclass(frozen=True)
class Missed:
    """Fires that are not made up: from ``first`` on, all before ``until``; None: all there were."""

    first: datetime
    until: datetime | None


@dataclass(frozen=True)
class Round:
    """What a look at a schedule comes to: the fires to make now, and the time of the next, None if there is none."""

    fires: tuple[datetime, ...]
    following: datetime | None
    missed: Missed | None = None


@dataclass(frozen=True)
class Policy:
    """``window``: seconds. No fire is made up that is later than that. ``most``: fires in one round."""

    catch_up: CatchUp = CatchUp.LAST
    window: float = DEFAULT_WINDOW_SECONDS
    most: int = field(default=100)

    @property
    def patience(self) -> timedelta:
        """How late a fire may be."""
        return timedelta(
            seconds=ON_TIME_SECONDS if self.catch_up is CatchUp.NONE else max(ON_TIME_SECONDS, self.window)
        )


def due_round(timetable: Timetable, time: datetime, now: datetime, policy: Policy) -> Round:
    """What to fire at ``now``; ``time`` is the earliest that has not been looked at. Fires keep their order: one whose
    jitter is longer than that of the next holds that up.
    """
    if timetable.due(time) > now:
        return Round((), time)
    second = timetable.following(time)
    if second is None or timetable.due(second) > now:
        return _told(timetable, time, [time], second, now, policy)
    start = _first_wanted(timetable, time, now, policy)
    due, following = _walk(timetable, start, now, policy.most if policy.catch_up is CatchUp.ALL else None)
    return _told(timetable, time, due, following, now, policy)


def _told(
    timetable: Timetable, time: datetime, due: list[datetime], following: datetime | None, now: datetime, policy: Policy
) -> Round:
    """Which of the ``due`` times are wanted, and whether any was missed from ``time`` on."""
    candidates = due if policy.catch_up is CatchUp.ALL else due[-1:]
    wanted = [each for each in candidates if now - timetable.due(each) <= policy.patience]
    if wanted[:1] == [time]:
        return Round(tuple(wanted), following)
    return Round(tuple(wanted), following, Missed(time, wanted[0] if wanted else following))


def _first_wanted(timetable: Timetable, time: datetime, now: datetime, policy: Policy) -> datetime:
    """Where to begin, without going through all that was missed."""
    settled = now - timedelta(seconds=timetable.jitter)
    if policy.catch_up is CatchUp.LAST:
        return max(time, _latest(timetable, settled, settled - time) or time)
    return max(time, timetable.following(max(time, settled - policy.patience) - _MICROSECOND) or time)


def _latest(timetable: Timetable, until: datetime, reach: timedelta) -> datetime | None:
    """The latest time up to ``until``, but none further back than ``reach``."""
    step = timedelta(seconds=1)
    while step < 2 * reach:
        last = None
        for each in timetable.after(until - min(step, reach) - _MICROSECOND):
            if each > until:
                break
            last = each
        if last is not None:
            return last
        step *= 2
    return None


def _walk(
    timetable: Timetable, start: datetime, now: datetime, most: int | None
) -> tuple[list[datetime], datetime | None]:
    """The times from ``start`` on that are due, ``most`` of them, and the one after."""
    found: list[datetime] = []
    time: datetime | None = start
    while time is not None and timetable.due(time) <= now and (most is None or len(found) < most):
        found.append(time)
        time = timetable.following(time)
    return found, time

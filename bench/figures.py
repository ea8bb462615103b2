"""The arithmetic of the tables: pure functions over times and numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    """Of one figure over all rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Times:
    """Of one job, as its task wrote them down: seconds of one clock."""

    began: float
    ended: float


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that is not exceeded by this share of them: the nearest rank, nothing interpolated."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def mark_after(jobs: Sequence[Times], warm_up: float) -> float:
    """The moment at which this share of the jobs had ended."""
    return percentile((job.ended for job in jobs), warm_up)


def rate_after(jobs: Sequence[Times], mark: float, settled: float) -> float:
    """Jobs per second that ended after the mark, until all was settled."""
    return sum(job.ended > mark for job in jobs) / (settled - mark)


def share_in_tasks(jobs: Sequence[Times], mark: float, slots: int) -> float:
    """The share of the slots' time that was spent in tasks, from the mark on for as long as there were jobs."""
    until = max(job.began for job in jobs)
    if until <= mark:
        return math.nan
    inside = sum(max(0.0, min(job.ended, until) - max(job.began, mark)) for job in jobs)
    return inside / (slots * (until - mark))


def most_at_once(jobs: Sequence[Times]) -> int:
    """The largest number of jobs that were under way together."""
    changes = sorted([(job.began, 1) for job in jobs] + [(job.ended, -1) for job in jobs])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def longest_overtaken(jobs: Sequence[Times], is_short: Sequence[bool]) -> float:
    """The longest time, in seconds, that a short job had to wait after a slot began one that was asked for later.

    The jobs are in the order in which they were asked for, all before the first began: whatever slot took the later one
    could have taken this one.
    """
    longest, earliest_later = 0.0, math.inf
    for job, short in zip(reversed(jobs), reversed(is_short), strict=True):
        if short:
            longest = max(longest, job.began - earliest_later)
        earliest_later = min(earliest_later, job.began)
    return longest


def idle_beside_work(jobs: Sequence[Times], mark: float, slots: int) -> float:
    """How long, in seconds and from the mark on, fewer than ``slots`` jobs ran though some had not begun."""
    last_begin = max(job.began for job in jobs)
    changes = sorted([(job.began, 1) for job in jobs] + [(job.ended, -1) for job in jobs])
    running, idle, since = 0, 0.0, mark
    for moment, change in changes:
        if moment > last_begin:
            break
        if moment > mark:
            idle += moment - since if running < slots else 0.0
            since = moment
        running += change
    return idle


def ratios(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round: both were measured on the same machine, minutes apart."""
    return [one / other for one, other in zip(mine, theirs, strict=False) if other]


def ratio_to(first: Sequence[float], other: Sequence[float], better: str) -> float | None:
    """How many times better the first is, by the median over the rounds; None where they cannot be compared."""
    found = ratios(first, other) if better == "higher" else ratios(other, first)
    return median(found) if found else None


def facts_of(values: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    """The spread of every figure that has a value."""
    return {name: Spread.of(found) for name, found in values.items() if found}

"""How long jobs ran and waited, as counts of durations in buckets. The bounds are part of what is stored."""

from dataclasses import dataclass

BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Upper bounds in seconds, the same for runs and waits; a last bucket holds what is longer. Changing them needs a
migration of what was counted before."""

BUCKETS = len(BOUNDS) + 1


@dataclass(frozen=True)
class Histogram:
    """``counts`` has one number per bucket, shortest first; ``seconds`` is the sum of all durations."""

    counts: tuple[int, ...] = (0,) * BUCKETS
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.counts)

    def __add__(self, other: "Histogram") -> "Histogram":
        both = zip(self.counts, other.counts, strict=True)
        return Histogram(tuple([mine + theirs for mine, theirs in both]), self.seconds + other.seconds)

    def running_totals(self) -> tuple[int, ...]:
        """For each bucket how many durations are in it or in a shorter one."""
        found, total = [], 0
        for count in self.counts:
            total += count
            found.append(total)
        return tuple(found)


_EMPTY = Histogram()


def in_bucket(bucket: int | None, count: int, seconds: float) -> Histogram:
    """``count`` durations of ``seconds`` in all, in one bucket; none if there is no bucket."""
    if bucket is None:
        return _EMPTY
    return Histogram((0,) * bucket + (count,) + (0,) * (BUCKETS - 1 - bucket), seconds)

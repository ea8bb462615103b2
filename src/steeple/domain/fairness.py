"""Who goes next where several share a lane: each key in proportion to its weight, however many jobs it has waiting.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) with jobs of one cost: each key has a virtual time at which its
next job starts; the least goes first, and moves on by 1 / weight. A key that comes anew begins at the lane's clock,
which is where the last start was: it is owed nothing for the time in which it had no job. So a single job of a key that
comes anew waits for one job of each other key at most.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NO_KEY = ""
"""What jobs without a fair key share as."""


@dataclass(frozen=True)
class Sharer:
    """A key with jobs that are due; ``virtual`` is None for one that has started none of late."""

    key: str
    weight: float = 1.0
    virtual: float | None = None

    def at(self, clock: float) -> float:
        """The virtual time at which its next job starts."""
        return clock if self.virtual is None else max(clock, self.virtual)


@dataclass(frozen=True)
class Standing:
    """Where a lane's clock is, and where the keys are that have started jobs."""

    clock: float
    virtual: Mapping[str, float]


def take_turns(sharers: Sequence[Sharer], clock: float, most: int) -> list[str]:
    """Whose jobs should start next, up to ``most``, if each has jobs enough."""
    weights = {each.key: each.weight for each in sharers}
    heap = [(each.at(clock), each.key) for each in sharers]
    heapq.heapify(heap)
    order: list[str] = []
    while heap and len(order) < most:
        start, key = heap[0]
        order.append(key)
        heapq.heapreplace(heap, (start + 1.0 / weights[key], key))
    return order


def after(sharers: Sequence[Sharer], clock: float, started: Iterable[str]) -> Standing:
    """Where all are once jobs of these keys have started, in that order."""
    known = {each.key: each for each in sharers}
    virtual: dict[str, float] = {}
    for key in started:
        start = virtual.get(key, known[key].at(clock))
        virtual[key] = start + 1.0 / known[key].weight
        clock = max(clock, start)
    return Standing(clock, virtual)

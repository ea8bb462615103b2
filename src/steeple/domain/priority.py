"""The three priorities and the lanes that they make with queues."""

import re
from dataclasses import dataclass
from enum import StrEnum

QUEUE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"
"""A queue's name: 1 to 100 letters, digits and ``. _ : -``, so that it fits a broker's queue name everywhere."""


class Priority(StrEnum):
    HIGH = "high"
    DEFAULT = "default"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the first to go; what is stored and sorted by."""
        return _RANKS[self]

    @classmethod
    def from_rank(cls, rank: int) -> "Priority":
        return tuple(cls)[rank]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


@dataclass(frozen=True, order=True)
class Lane:
    """A queue and a priority. ``queue`` is None for the lanes of workers that serve every queue."""

    queue: str | None
    priority: Priority


@dataclass(frozen=True)
class Binding:
    """What a worker is bound to. ``queues`` None: every queue, also those not yet known."""

    queues: tuple[str, ...] | None = None
    priorities: tuple[Priority, ...] = tuple(Priority)

    def covers(self, lane: Lane) -> bool:
        return lane.priority in self.priorities and (self.queues is None or lane.queue in self.queues)

    def lanes(self) -> tuple[Lane, ...]:
        """The lanes on which this worker waits for wake-ups."""
        return tuple(Lane(queue, priority) for queue in self.queues or (None,) for priority in self.priorities)

    def lane_for(self, lane: Lane) -> Lane:
        """Where a wake-up for ``lane`` reaches this worker."""
        return lane if self.queues is not None else Lane(None, lane.priority)


def is_queue_name(name: str) -> bool:
    return re.fullmatch(QUEUE_PATTERN, name) is not None

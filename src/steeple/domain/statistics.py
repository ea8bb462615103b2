"""What is counted about queues, jobs and workers: read by the store, shown by the API and the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from steeple.domain.histogram import Histogram
from steeple.domain.states import State


class CounterName(StrEnum):
    """Rare events whose totals are kept."""

    STALE_FINISHES = "stale_finishes"
    """Outcomes that came after their job had been taken away: dropped."""

    RESCUES = "rescues"
    """Jobs taken from a worker that went silent."""

    CRASHES = "crashes"
    """Jobs whose slot died under them."""

    DROPPED_WAKE_UPS = "dropped_wake_ups"
    """Messages from the broker that were not understood."""

    EXPIRED = "expired"
    """Jobs that had not started by their ``expires_at``."""

    PRUNED = "pruned"
    """Finished jobs deleted after their retention."""

    FAILED_FIRES = "failed_fires"
    """Fires of schedules that could make no job."""

    MISSED_FIRES = "missed_fires"
    """Times that schedules were not fired, and that were not made up."""


@dataclass(frozen=True)
class QueueStatistics:
    """``counts`` has every state. ``oldest_wait``: seconds by which the oldest due job is overdue, None if none is due.

    ``throughput``: jobs finished per second over the last minute.
    """

    name: str
    counts: Mapping[State, int]
    oldest_wait: float | None
    throughput: float
    paused: bool = False


@dataclass(frozen=True)
class JobCount:
    """How many jobs are there now of a queue, task and state."""

    queue: str
    task: str
    state: State
    jobs: int


@dataclass(frozen=True)
class FinishedTotal:
    """All jobs that ever finished in a state: never decreases. ``run``, ``wait``: of those that had started."""

    queue: str
    task: str
    state: State
    jobs: int
    run: Histogram
    wait: Histogram


@dataclass(frozen=True)
class MetricsSnapshot:
    """``tasks`` leaves pending jobs out while there are too many of them to be counted per task."""

    queues: tuple[QueueStatistics, ...]
    tasks: tuple[JobCount, ...]
    finished: tuple[FinishedTotal, ...]
    workers: int
    slots: int
    counters: Mapping[CounterName, int]

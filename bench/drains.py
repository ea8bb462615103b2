"""The measurement that most rows share: jobs are there before the workers start, and run until none is left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep

from bench.arena import ContestantFailed, Turn
from bench.figures import Times, mark_after, rate_after
from bench.roster import entrant_named
from bench.row import Conditions

SLOTS = 2
WARM_UP = 0.1
"""The share of the jobs that are not counted: processes start and connections open meanwhile."""

_PATIENCE = 20.0
_SETTLING_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.005


@dataclass(frozen=True)
class Load:
    """What to run: each job takes one of ``seconds``, in turn; none: the task takes no time."""

    task: str
    workload: str
    seconds: tuple[float, ...] = ()

    @property
    def mean_seconds(self) -> float:
        return sum(self.seconds) / len(self.seconds) if self.seconds else 0.0


@dataclass(frozen=True)
class Drained:
    """``mark``: when the warm-up was over; ``settled``: when the last result was recorded, where any is."""

    jobs: Sequence[Times]
    mark: float
    settled: float

    @property
    def rate(self) -> float:
        """Jobs per second."""
        return rate_after(self.jobs, self.mark, self.settled)


def drain(conditions: Conditions, name: str, load: Load, jobs: int) -> Drained:
    """Raises ``ContestantFailed`` unless every job ran, once, and is recorded where the contestant records any."""
    with conditions.arena.turn(entrant_named(name), places=jobs) as turn:
        return drain_in(turn, conditions, load, jobs, lambda: turn.start_workers(load.workload))


def drain_in(turn: Turn, conditions: Conditions, load: Load, jobs: int, start: Callable[[], object]) -> Drained:
    """The same in a turn that has begun; ``start`` starts the workers."""
    turn.ask("enqueue", task=load.task, first=0, count=jobs, seconds=load.seconds)
    conditions.arena.settle()
    start()
    turn.wait(jobs, _PATIENCE + 6 * conditions.seconds)
    times = times_of(turn, jobs)
    settled = max(max(job.ended for job in times), _settle(turn, jobs))
    repeated = jobs - bytes(turn.sheet.runs[:jobs]).count(1)
    if repeated:
        raise ContestantFailed(f"{repeated} of {jobs} jobs ran more than once")
    return Drained(times, mark_after(times, WARM_UP), settled)


def times_of(turn: Turn, jobs: int, first: int = 0) -> list[Times]:
    """What the tasks wrote down, in the order in which the jobs were asked for."""
    places = range(first, first + jobs)
    return [Times(turn.sheet.began[place], turn.sheet.ended[place]) for place in places]


def _settle(turn: Turn, jobs: int) -> float:
    """When all are recorded as finished; 0 if nothing is recorded."""
    deadline = monotonic() + _SETTLING_SECONDS
    while (finished := turn.ask("finished")) is not None:
        if finished == jobs:
            return monotonic()
        if monotonic() > deadline:
            raise ContestantFailed(f"{finished} of {jobs} jobs are recorded as finished")
        sleep(_LOOK_AGAIN_SECONDS)
    return 0.0

"""More of a part: slots, workers and schedulers. What is added must not be in the way."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench import backlog, parts, windows
from bench.arena import Turn
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row


@dataclass(frozen=True)
class _Shape:
    """``slots``: of each worker."""

    title: str
    slots: int = 2
    workers: int = 1
    schedulers: int = 1


_SHAPES = {
    "slots-2": _Shape("1 worker of 2 slots, 1 scheduler"),
    "slots-1": _Shape("1 slot", slots=1),
    "slots-4": _Shape("4 slots", slots=4),
    "slots-8": _Shape("8 slots", slots=8),
    "workers-3": _Shape("3 workers of 2 slots", workers=3),
    "schedulers-4": _Shape("4 schedulers", schedulers=4),
}


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena, shape, jobs = conditions.arena, _SHAPES[name], windows.backlog_for(conditions.seconds)
    with arena.turn(entrant_named(STEEPLE), places=jobs) as turn:
        backlog.add_due(arena, jobs)
        arena.settle()
        rate = windows.rate_within(turn, jobs, conditions.seconds, lambda: _start(turn, shape), shape.workers)
        return {"rate": rate}


def _start(turn: Turn, shape: _Shape) -> None:
    for _ in range(shape.schedulers):
        turn.start(parts.scheduler())
    for _ in range(shape.workers):
        turn.start(parts.worker(shape.slots))


ROW = Row(
    name="shapes",
    title="No-op jobs drained by more or fewer slots, workers and schedulers",
    contestants=list(_SHAPES),
    figures=[Figure("rate", "no-op jobs drained", "jobs/s")],
    measure=_measure,
    note="All on the same cores, whatever their number; what is not named is as in the first. Counted once all are at"
    " work, and as long as there are jobs for all.",
    first="slots-2",
    titles={name: shape.title for name, shape in _SHAPES.items()},
)

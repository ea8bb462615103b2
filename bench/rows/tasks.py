"""Tasks that hold their slot for a while, asleep or computing: how much of the slots' time goes into them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from bench.drains import SLOTS, Load, drain
from bench.figures import share_in_tasks
from bench.roster import ENTRANTS
from bench.row import Conditions, Figure, Row

_MILLISECONDS = (1, 10, 100)
_LONG_FROM = 10
_FIGURES = (
    Figure("rate", "jobs drained", "jobs/s"),
    Figure("share", "slots' time spent in tasks", "%"),
)


def _measure(conditions: Conditions, name: str, *, load: Load) -> Mapping[str, float]:
    drained = drain(conditions, name, load, job_count(conditions, name, load))
    return {"rate": drained.rate, "share": share_in_tasks(drained.jobs, drained.mark, SLOTS)}


def job_count(conditions: Conditions, name: str, load: Load) -> int:
    """As many as last for the time of a measurement: by the time in tasks, and that between them."""
    return max(40, round(conditions.seconds / (load.mean_seconds / SLOTS + 1 / conditions.rates[name])))


def _row(task: str, title: str, milliseconds: int, quick: Sequence[str]) -> Row:
    load = Load(task, "long" if milliseconds >= _LONG_FROM else "short", (milliseconds / 1000,))
    measure: Callable[[Conditions, str], Mapping[str, float]] = partial(_measure, load=load)
    return Row(
        name=f"{task}-{milliseconds}ms",
        title=f"Tasks that {title} {milliseconds} ms",
        contestants=[entrant.name for entrant in ENTRANTS],
        figures=_FIGURES,
        measure=measure,
        note="Two slots. Their time counts from the end of the warm-up for as long as there were jobs to begin.",
        quick=quick,
    )


def rows() -> list[Row]:
    quick = [entrant.name for entrant in ENTRANTS if entrant.is_quick]
    sleeping = [_row("sleep", "sleep", each, quick if each == _LONG_FROM else ()) for each in _MILLISECONDS]
    return sleeping + [_row("compute", "compute", each, ()) for each in _MILLISECONDS]

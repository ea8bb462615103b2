"""Coroutines that wait for 100 ms: how many are under way at once, and how many a second come to an end."""

from collections.abc import Mapping

from bench.drains import SLOTS, Load, drain
from bench.figures import most_at_once
from bench.roster import ENTRANTS
from bench.row import Conditions, Figure, Row

_LOAD = Load("wait", "waiting", (0.1,))
_AT_ONCE = 128


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    at_best = SLOTS * _AT_ONCE / _LOAD.mean_seconds
    jobs = max(500, round(conditions.seconds / (1 / at_best + 1 / conditions.rates[name])))
    drained = drain(conditions, name, _LOAD, jobs)
    return {"rate": drained.rate, "at_once": most_at_once(drained.jobs) / SLOTS}


ROW = Row(
    name="waiting",
    title="async def tasks that wait 100 ms",
    contestants=[entrant.name for entrant in ENTRANTS if entrant.runs_coroutines],
    figures=[Figure("rate", "jobs drained", "jobs/s"), Figure("at_once", "most at once per process", "tasks")],
    measure=_measure,
    note=f"Two processes, {_AT_ONCE} tasks at once allowed to each.",
)

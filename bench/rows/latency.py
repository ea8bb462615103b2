"""An idle system gets a single job: the time from before it is handed over to the first line of its task."""

from collections.abc import Mapping

from bench.arena import ContestantFailed
from bench.figures import percentile
from bench.roster import ENTRANTS, STEEPLE_HTTP, entrant_named
from bench.row import Conditions, Figure, Row

_WARM_UP = 10
_PAUSES = (0.02, 0.12)
_PER_SECOND = 12
"""Roughly, with such pauses."""

_READY_SECONDS = 60.0


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    jobs = max(30, round(conditions.seconds * _PER_SECOND))
    with conditions.arena.turn(entrant_named(name), places=_WARM_UP + jobs) as turn:
        turn.start_workers("long")
        turn.ask("enqueue_singly", first=0, count=_WARM_UP, pauses=_PAUSES)
        handed_over = turn.ask("enqueue_singly", first=_WARM_UP, count=jobs, pauses=_PAUSES)
        turn.wait(_WARM_UP + jobs, _READY_SECONDS)
        began = list(turn.sheet.began[_WARM_UP : _WARM_UP + jobs])
        taken = [1000 * (start - moment) for start, moment in zip(began, handed_over, strict=True)]
    if min(taken) < 0:
        raise ContestantFailed("a job began before it was handed over")
    return {"p50": percentile(taken, 0.5), "p99": percentile(taken, 0.99)}


ROW = Row(
    name="latency",
    title="Idle system, from submit to the task's first line",
    contestants=[STEEPLE_HTTP, *(entrant.name for entrant in ENTRANTS)],
    figures=[
        Figure("p50", "p50", "ms", better="lower", is_log=True),
        Figure("p99", "p99", "ms", better="lower", is_log=True),
    ],
    measure=_measure,
    note="One job at a time, 20 to 120 ms after the last one began; settings as for long tasks.",
    first=STEEPLE_HTTP,
    reference="celery_plain",
    quick=[STEEPLE_HTTP, *(entrant.name for entrant in ENTRANTS if entrant.is_quick)],
)

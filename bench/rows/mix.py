"""Many short tasks and a few long ones in one queue: what the short ones have to wait for."""

from collections.abc import Mapping

from bench.drains import SLOTS, Load, drain
from bench.figures import idle_beside_work, longest_overtaken, share_in_tasks
from bench.roster import ENTRANTS
from bench.row import Conditions, Figure, Row
from bench.rows.tasks import job_count

_SHORT, _LONG = 0.005, 1.0
_SHORT_ONES = 199
"""For each long one: a second of either."""

_LOAD = Load("sleep", "mixed", (*[_SHORT] * (_SHORT_ONES // 2), _LONG, *[_SHORT] * (_SHORT_ONES - _SHORT_ONES // 2)))


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    jobs = max(2 * len(_LOAD.seconds), job_count(conditions, name, _LOAD))
    drained = drain(conditions, name, _LOAD, jobs)
    is_short = [_LOAD.seconds[number % len(_LOAD.seconds)] == _SHORT for number in range(jobs)]
    return {
        "overtaken": longest_overtaken(drained.jobs, is_short),
        "idle": idle_beside_work(drained.jobs, drained.mark, SLOTS),
        "share": share_in_tasks(drained.jobs, drained.mark, SLOTS),
    }


ROW = Row(
    name="mix",
    title="Short tasks of 5 ms among long ones of 1 s",
    contestants=[entrant.name for entrant in ENTRANTS],
    figures=[
        Figure("overtaken", "longest that a short one waited after a later job had begun", "s", better="lower"),
        Figure("idle", "time with a slot idle while jobs waited", "s", better="lower"),
        Figure("share", "slots' time spent in tasks", "%"),
    ],
    measure=_measure,
    note="One of 200 jobs is long. A short job that waits while a slot begins a later one stands behind a long one.",
)

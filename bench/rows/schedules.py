"""Ten thousand schedules, a hundred of them due at the same moment, moment after moment: how late their tasks begin."""

import math
import time
from collections.abc import Mapping

from bench import parts
from bench.arena import Arena, ContestantFailed
from bench.figures import percentile
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row

_SCHEDULES = 10_000
_AT_ONCE = 100
_BEAT_SECONDS = 1.0
"""More often than the promise needs, which is for a hundred each minute."""

_WARM_UP = 200
_SETTLE_SECONDS = 4.0
"""For the rows to be written before the first is due."""

_CLOCKS_APART_MILLISECONDS = 5.0
_PATIENCE = 60.0

# Each fires once a day; a hundred at each beat, those after the last of the measurement a day later.
_INSERT = """
INSERT INTO schedules (id, name, source, task, args, queue, priority, every, timezone, anchor, jitter, overlap,
                       catch_up, catch_up_window, next_time, next_due)
SELECT gen_random_uuid(), 'schedule ' || place, 'api', 'noop', json_build_object('number', %(first)s + place),
       'default', 1, 86400, 'UTC', due, 0, 'skip', 'last', 86400, due, due
FROM generate_series(0, %(schedules)s - 1) AS place
CROSS JOIN LATERAL (
    SELECT to_timestamp(%(due)s + place / %(at_once)s * %(beat)s + CASE WHEN place < %(jobs)s THEN 0 ELSE 86400 END)
) AS moment (due)
"""


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    beats = max(3, int(conditions.seconds / _BEAT_SECONDS))
    jobs = _AT_ONCE * beats
    with conditions.arena.turn(entrant_named(name), places=_WARM_UP + jobs) as turn:
        turn.start(parts.scheduler())
        turn.start(parts.worker(2))
        parts.wait_for_workers(conditions.arena)
        turn.ask("enqueue", task="noop", first=0, count=_WARM_UP, seconds=[])
        turn.wait(_WARM_UP, _PATIENCE)
        first_due = math.ceil(time.time() + _SETTLE_SECONDS)
        _insert(conditions.arena, first_due, jobs)
        if time.time() > first_due:
            raise ContestantFailed("the first schedule was due before the last was written")
        turn.wait(_WARM_UP + jobs, _PATIENCE + conditions.seconds)
        began = list(turn.sheet.began[_WARM_UP : _WARM_UP + jobs])
    ahead = time.time() - time.monotonic()
    due = [first_due + place // _AT_ONCE * _BEAT_SECONDS for place in range(jobs)]
    late = [1000 * (moment + ahead - at) for moment, at in zip(began, due, strict=True)]
    if min(late) < -_CLOCKS_APART_MILLISECONDS:
        raise ContestantFailed(f"a job began {-min(late):.1f} ms early")
    return {"p50": percentile(late, 0.5), "p99": percentile(late, 0.99)}


def _insert(arena: Arena, first_due: int, jobs: int) -> None:
    values = {
        "first": _WARM_UP,
        "schedules": _SCHEDULES,
        "due": first_due,
        "at_once": _AT_ONCE,
        "beat": _BEAT_SECONDS,
        "jobs": jobs,
    }
    with arena.connect() as connection:
        connection.execute(_INSERT, values)


ROW = Row(
    name="schedules",
    title=f"{_SCHEDULES:,} schedules, {_AT_ONCE} of them due at the same moment each second",
    contestants=[STEEPLE],
    figures=[
        Figure("p50", "p50 from a fire's time to the task's first line", "ms", better="lower"),
        Figure("p99", "p99", "ms", better="lower"),
    ],
    measure=_measure,
    note="Each fire makes its job in one transaction with it. 2 slots, 1 scheduler.",
)

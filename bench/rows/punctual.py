"""Jobs for a given moment, a thousand of them each second: how late their tasks begin."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from bench import parts
from bench.arena import Arena, ContestantFailed
from bench.figures import percentile
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row
from steeple.domain.job import NewJob
from steeple.settings import Settings
from steeple.store.children import insert_some
from steeple.store.engine import create_engine, in_transaction
from steeple.submission import new_id

_PER_SECOND = 1000
_WARM_UP = 200
_SUBMITS_PER_SECOND = 2000
"""Fewer than are certain to be stored before the first is due."""

_CLOCKS_APART_MILLISECONDS = 5.0
_PATIENCE = 60.0


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    jobs = int(_PER_SECOND * conditions.seconds)
    with conditions.arena.turn(entrant_named(name), places=_WARM_UP + jobs) as turn:
        turn.start(parts.scheduler())
        turn.start(parts.worker(2))
        parts.wait_for_workers(conditions.arena)
        turn.ask("enqueue", task="noop", first=0, count=_WARM_UP, seconds=[])
        turn.wait(_WARM_UP, _PATIENCE)
        first_due = time.time() + 2.0 + jobs / _SUBMITS_PER_SECOND
        due = [first_due + number / _PER_SECOND for number in range(jobs)]
        _submit(conditions.arena, due)
        if time.time() > first_due:
            raise ContestantFailed("the first job was due before the last was submitted")
        turn.wait(_WARM_UP + jobs, _PATIENCE + conditions.seconds)
        began = list(turn.sheet.began[_WARM_UP : _WARM_UP + jobs])
    ahead = time.time() - time.monotonic()
    late = [1000 * (moment + ahead - at) for moment, at in zip(began, due, strict=True)]
    if min(late) < -_CLOCKS_APART_MILLISECONDS:
        raise ContestantFailed(f"a job began {-min(late):.1f} ms early")
    return {"p50": percentile(late, 0.5), "p99": percentile(late, 0.99)}


def _submit(arena: Arena, due: list[float]) -> None:
    """By the statement that submits use, each with a moment of its own."""
    jobs = [
        NewJob(new_id(), "noop", f'{{"number":{_WARM_UP + place}}}', run_at=_moment(at)) for place, at in enumerate(due)
    ]
    engine = create_engine(Settings(database_url=arena.database), size=1)
    try:
        in_transaction(engine, lambda connection: insert_some(connection, jobs))
    finally:
        engine.dispose()


def _moment(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


ROW = Row(
    name="punctual",
    title=f"Jobs with a run_at, {_PER_SECOND:,} of them due each second, evenly",
    contestants=[STEEPLE],
    figures=[
        Figure("p50", "p50 from run_at to the task's first line", "ms", better="lower"),
        Figure("p99", "p99", "ms", better="lower"),
    ],
    measure=_measure,
    note="All are submitted before the first is due. 2 slots, 1 scheduler.",
)

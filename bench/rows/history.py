"""A thousand jobs a second become history while the oldest is pruned: does anything grow?"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import monotonic, sleep

from bench import backlog, parts
from bench.arena import Arena, ContestantFailed, Turn
from bench.backlog import Times
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row

MINUTES = float(os.environ.get("BENCH_MINUTES", "60"))
"""How long it goes on; finished jobs are kept for a sixth of that."""

_PER_SECOND = 1000
_TIMES = Times(span=1.0, ago=0.3, wait=0.1, run=0.1)
_LOOKS = 24
_BURST = 2000
"""No-op jobs, to see how fast they are claimed and finished."""

_PATIENCE = 60.0

_SIZES = "SELECT pg_table_size('jobs') / 1e6, pg_indexes_size('jobs') / 1e6"
_LEFT = "SELECT count(*) FROM jobs WHERE state = 'PENDING' OR state = 'RUNNING'"


@dataclass(frozen=True)
class _Look:
    """``table`` and ``indexes`` are megabytes, ``burst`` seconds."""

    table: float
    indexes: float
    burst: float


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena = conditions.arena
    with arena.turn(entrant_named(name), places=_BURST) as turn:
        turn.start(parts.scheduler(), {"STEEPLE_RETENTION": f"{60 * MINUTES / 6:g}"})
        turn.start(parts.worker(2))
        parts.wait_for_workers(arena)
        _burst(arena)
        looks = [_go_on(turn, 60 * MINUTES / _LOOKS) for _ in range(_LOOKS)]
    middle, end = looks[_LOOKS // 3 : 2 * _LOOKS // 3], looks[2 * _LOOKS // 3 :]
    return {
        "burst": _change([look.burst for look in middle], [look.burst for look in end]),
        "table": _change([look.table for look in middle], [look.table for look in end]),
        "indexes": _change([look.indexes for look in middle], [look.indexes for look in end]),
        "size": median(look.table + look.indexes for look in end),
    }


def _change(former: Sequence[float], latter: Sequence[float]) -> float:
    return median(latter) / median(former)


def _go_on(turn: Turn, seconds: float) -> _Look:
    """Add history for so long, then look. Raises ``ContestantFailed`` if it cannot be added as fast as that."""
    began = monotonic()
    for number in range(max(1, round(seconds))):
        sleep(max(0.0, began + number - monotonic()))
        backlog.add_finished(turn.arena, _PER_SECOND, _TIMES)
    if monotonic() - began > 1.5 * seconds + 2:
        raise ContestantFailed(f"{_PER_SECOND} jobs a second cannot be added on this machine")
    with turn.arena.connect() as connection:
        row = connection.execute(_SIZES).fetchone()
    assert row is not None
    return _Look(float(row[0]), float(row[1]), _burst(turn.arena))


def _burst(arena: Arena) -> float:
    """How long some no-op jobs take from their submit until none is left, in seconds."""
    deadline = monotonic() + _PATIENCE
    with arena.connect() as connection:
        backlog.add_due(arena, _BURST)
        began = monotonic()
        while left := parts.number_of(connection, _LEFT):
            if monotonic() > deadline:
                raise ContestantFailed(f"{left} jobs are left after {_PATIENCE:g} s")
            sleep(0.01)
    return monotonic() - began


ROW = Row(
    name="history",
    title=f"{_PER_SECOND:,} jobs a second become history, and are pruned",
    contestants=[STEEPLE],
    figures=[
        Figure(
            "burst", f"time for {_BURST:,} no-op jobs in the last third, of that in the second", "%", better="lower"
        ),
        Figure("table", "the same for the table's size", "%", better="lower"),
        Figure("indexes", "the same for its indexes", "%", better="lower"),
        Figure("size", "table and indexes, last third", "MB", better="lower"),
    ],
    measure=_measure,
    note=f"For {MINUTES:g} minutes (`BENCH_MINUTES` in the environment); finished jobs are kept for a sixth of that, so"
    " that from the second third on as many are pruned as are added.",
    on_request=True,
)

"""Memory: of all parts together, and of a slot after many jobs."""

import os
from collections.abc import Mapping
from time import monotonic, sleep

from bench import backlog, parts
from bench.arena import Arena, ContestantFailed
from bench.footprint import megabytes, megabytes_of_children
from bench.load import Plan, post, send
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row

JOBS = int(os.environ.get("BENCH_JOBS", "200000"))
"""Through each slot."""

_FIRST = 20_000
"""Jobs through each slot before it is looked at for the first time."""

_SLOTS = 2
_PLACES = 20_000
_SLOWEST_RATE = 500
_LOOK_AGAIN_SECONDS = 0.5

_LEFT = "SELECT count(*) FROM jobs WHERE state = 'PENDING' OR state = 'RUNNING'"


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena = conditions.arena
    with arena.turn(entrant_named(name), places=_PLACES) as turn:
        turn.start(parts.api(arena.port))
        turn.start(parts.scheduler())
        worker = turn.start(parts.worker(_SLOTS))
        parts.wait_for_server(arena.port)
        parts.wait_for_workers(arena)
        requests = [post("/v1/jobs", {"task": "noop", "args": {"number": number}}) for number in range(1000)]
        send(Plan(arena.port, 8, 1.0, requests, 202))
        _run(arena, _SLOTS * _FIRST)
        total, before = megabytes(turn.pids()), megabytes_of_children(worker)
        _run(arena, _SLOTS * max(0, JOBS - _FIRST))
        after = megabytes_of_children(worker)
    if len(before) != _SLOTS or set(before) != set(after):
        raise ContestantFailed(f"the slots were processes {sorted(before)}, then {sorted(after)}")
    slot = max(after, key=lambda pid: after[pid] / before[pid])
    return {"total": total, "slot": after[slot], "growth": after[slot] / before[slot]}


def _run(arena: Arena, jobs: int) -> None:
    """Have so many done by the worker that is there. Raises ``ContestantFailed``."""
    backlog.add_due(arena, jobs, _PLACES)
    deadline = monotonic() + 60 + jobs / _SLOWEST_RATE
    with arena.connect() as connection:
        while left := parts.number_of(connection, _LEFT):
            if monotonic() > deadline:
                raise ContestantFailed(f"{left} of {jobs} jobs are left")
            sleep(_LOOK_AGAIN_SECONDS)


ROW = Row(
    name="memory",
    title="Memory of an API, a scheduler and a worker of 2 slots, after work",
    contestants=[STEEPLE],
    figures=[
        Figure("total", "all processes", "MB", better="lower"),
        Figure("slot", "the slot that grew most, at the end", "MB", better="lower"),
        Figure("growth", "of what it was before", "%", better="lower"),
    ],
    measure=_measure,
    note=f"Pages that processes share are counted once (PSS). All together after {_FIRST:,} jobs through each slot; the"
    f" growth from there to {JOBS:,} through each (`BENCH_JOBS` in the environment; 1000000 takes some minutes).",
)

"""One job per request: how many an API process accepts, durably, beside FastAPI that only answers."""

import sys
from collections.abc import Mapping

from bench import parts
from bench.arena import Arena, ContestantFailed
from bench.bare_api import MODEL_PATH, PLAIN_PATH
from bench.load import Loaded, Plan, post, send
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row

_CONNECTIONS = 32
_DIFFERENT = 1000
_PATHS = {STEEPLE: "/v1/jobs", "fastapi": PLAIN_PATH, "fastapi_model": MODEL_PATH}

# How many jobs there are, and how many of those that were answered for.
_STORED = "SELECT count(*) FROM jobs"
_KNOWN = "SELECT count(*) FROM jobs WHERE id = ANY (%s::uuid[])"


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena = conditions.arena
    with arena.turn(entrant_named(STEEPLE), places=1) as turn:
        bare = [sys.executable, "-m", "bench.bare_api", str(arena.port)]
        turn.start(parts.api(arena.port) if name == STEEPLE else bare)
        parts.wait_for_server(arena.port)
        requests = [post(_PATHS[name], {"task": "noop", "args": {"number": each}}) for each in range(_DIFFERENT)]
        loaded = send(Plan(arena.port, _CONNECTIONS, conditions.seconds, requests, 202))
        if name == STEEPLE:
            require_stored(arena, loaded, loaded.replies)
        return {"rate": loaded.rate, "p99": loaded.share_within(0.99)}


def require_stored(arena: Arena, loaded: Loaded, jobs: int) -> None:
    """Raises ``ContestantFailed`` unless there are exactly the jobs that were answered for, so many."""
    with arena.connect() as connection:
        stored = parts.number_of(connection, _STORED)
        known = parts.number_of(connection, _KNOWN, list(loaded.ids))
    if not stored == known == len(loaded.ids) == jobs:
        raise ContestantFailed(f"{jobs} jobs asked for, {len(loaded.ids)} answered, {known} of them stored of {stored}")


ROW = Row(
    name="posting",
    title="POST /v1/jobs, one job each, from 32 connections to one API process",
    contestants=list(_PATHS),
    figures=[
        Figure("rate", "requests", "requests/s"),
        Figure("p99", "p99", "ms", better="lower"),
    ],
    measure=_measure,
    note="FastAPI checks the same body by the same model and answers as much, under the same settings of uvicorn, with"
    " no database. Steeple's jobs are durable when it answers, and all were found there. No worker runs.",
    titles={"fastapi": "FastAPI, no database", "fastapi_model": "FastAPI, no database, response model"},
    quick=["fastapi", STEEPLE],
    reference="fastapi",
)

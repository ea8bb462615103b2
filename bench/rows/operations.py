"""One operation on many jobs: how fast it goes, how long a batch of it takes, and what others notice meanwhile."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from time import monotonic, sleep
from typing import Any

from bench import backlog, parts
from bench.arena import Arena, ContestantFailed, Turn
from bench.figures import percentile
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row

JOBS = int(os.environ.get("BENCH_OPERATION", "1000000"))
"""That match. All of them are to run in the week to come."""

_ACTIONS = ["cancel", "retry", "delete", "reprioritise", "move"]
_TASKS = [f"task-{number}" for number in range(20)]
_CHANGES = {"reprioritise": {"priority": "high"}, "move": {"queue": "elsewhere"}}
_NEED_AN_END = ("retry", "delete")
_PATIENCE = 1800.0
_PAUSE_SECONDS = 0.05

# How long the oldest transaction of Steeple's that writes has been open, in milliseconds.
_OPEN = """
SELECT COALESCE(max(EXTRACT(epoch FROM clock_timestamp() - xact_start)) * 1000, 0) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'steeple' AND backend_xid IS NOT NULL
"""


@dataclass
class _Seen:
    """Milliseconds, of each look."""

    lists: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    transactions: list[float] = field(default_factory=list)


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena = conditions.arena
    with arena.turn(entrant_named(STEEPLE), places=1) as turn:
        backlog.add_history(arena, 0, JOBS)
        arena.settle()
        _start_all(turn)
        if name in _NEED_AN_END:
            _watch(arena, _begin(arena, "cancel"))
        began = monotonic()
        seen = _watch(arena, _begin(arena, name))
        seconds = monotonic() - began
    return {
        "rate": JOBS / seconds,
        "transaction": max(seen.transactions),
        "list": percentile(seen.lists, 0.95),
        "start": percentile(seen.starts, 0.95),
    }


def _start_all(turn: Turn) -> None:
    turn.start(parts.scheduler())
    turn.start(parts.api(turn.arena.port))
    turn.start(parts.worker(2))
    parts.wait_for_server(turn.arena.port)
    parts.wait_for_workers(turn.arena)


def _begin(arena: Arena, action: str) -> str:
    """The operation's id."""
    body: dict[str, Any] = {"action": action, "filter": {"task": _TASKS}}
    if action in _CHANGES:
        body["set"] = _CHANGES[action]
    return str(_ask(arena, "POST", "/v1/operations", body)["id"])


def _watch(arena: Arena, operation_id: str) -> _Seen:
    """Look at it until it is over, and at what others would. Raises ``ContestantFailed`` if it does not do them all."""
    seen = _Seen()
    deadline = monotonic() + _PATIENCE
    with arena.connect() as connection:
        while True:
            row = connection.execute(_OPEN).fetchone()
            assert row is not None
            seen.transactions.append(float(row[0]))
            seen.lists.append(_timed(arena, "GET", "/v1/jobs?state=PENDING&limit=50"))
            seen.starts.append(_timed(arena, "POST", "/v1/jobs", {"task": "noop", "args": {"number": 0}}))
            found = _ask(arena, "GET", f"/v1/operations/{operation_id}")
            if found["state"] == "DONE":
                break
            if monotonic() > deadline:
                raise ContestantFailed(f"{found['done']} of {JOBS} jobs done in {_PATIENCE:g} s")
            sleep(_PAUSE_SECONDS)
    if found["done"] != JOBS:
        raise ContestantFailed(f"{found['done']} of {JOBS} jobs done: {found['reasons']}")
    return seen


def _timed(arena: Arena, method: str, path: str, body: object = None) -> float:
    began = monotonic()
    _ask(arena, method, path, body)
    return (monotonic() - began) * 1000


def _ask(arena: Arena, method: str, path: str, body: object = None) -> dict[str, Any]:
    """A job that is submitted is waited for. Raises ``ContestantFailed`` if the answer is a refusal."""
    connection = HTTPConnection("127.0.0.1", arena.port)
    headers = {} if body is None else {"Content-Type": "application/json", "Prefer": "wait=10"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    reply = connection.getresponse()
    found: dict[str, Any] = json.loads(reply.read())
    connection.close()
    if reply.status >= 400:
        raise ContestantFailed(f"{method} {path}: {found}")
    return found


ROW = Row(
    name="operations",
    title=f"One operation on {JOBS:,} jobs",
    contestants=_ACTIONS,
    figures=[
        Figure("rate", "jobs acted on", "jobs/s"),
        Figure("transaction", "longest transaction seen", "ms", better="lower"),
        Figure("list", "list by state meanwhile, p95", "ms", better="lower"),
        Figure("start", "submit to end of a no-op job meanwhile, p95", "ms", better="lower"),
    ],
    measure=_measure,
    note=f"{JOBS:,} jobs (`BENCH_OPERATION` in the environment) are pending for the week to come; before `retry` and"
    " `delete` another operation has cancelled them. One scheduler, one API, two slots.",
    first="cancel",
    titles={action: action for action in _ACTIONS},
    on_request=True,
)

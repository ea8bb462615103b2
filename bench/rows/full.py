"""Tables with a week of history and much to come: as fast as empty ones, and as quickly looked through."""

import http.client
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from bench import backlog, parts, windows
from bench.arena import Arena, ContestantFailed, Turn
from bench.load import Plan, get, send
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row

FINISHED = int(os.environ.get("BENCH_ROWS", "10000000"))
"""Finished jobs; a tenth as many are due, and as many in the future."""

_DUE = FINISHED // 10
_PAGES_SHARE = 0.5
"""Of a measurement's seconds for each kind of page."""

_STOCK = "bench_full"
_DATABASE = "bench"
_LISTED_PAGES = 20
_STATES = ("PENDING", "RUNNING", "SUCCESS", "FAILED", "CANCELLED")

_EXISTS = "SELECT count(*) FROM pg_database WHERE datname = %s"
_DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY (%s)"
_FORGET_RUN = "DELETE FROM jobs WHERE task = 'noop'"


@dataclass(frozen=True)
class _Pages:
    """One kind of page: its figure's name, what the figure shows, and what is asked for."""

    name: str
    title: str
    paths: Sequence[str]


def _pages() -> list[_Pages]:
    queues = ["default", *(f"queue-{number}" for number in range(1, 8))]
    return [
        _Pages("state", "list by state", [_jobs(state=state) for state in _STATES]),
        _Pages("task", "list by task", [_jobs(task=f"task-{number}") for number in range(20)]),
        _Pages(
            "both",
            "list by task and state",
            [_jobs(task=f"task-{n}", state=state) for n in (0, 9, 19) for state in _STATES],
        ),
        _Pages("none", "list of none", [_jobs(task="none"), _jobs(queue="none"), _jobs(tag="none")]),
        _Pages("tag", "list by tag", [_jobs(tag=tag) for tag in ("nightly", *(f"customer-{n}" for n in range(20)))]),
        _Pages("queue", "list by queue", [_jobs(queue=queue) for queue in queues]),
        _Pages("count", "count of all queues", ["/v1/queues"]),
    ]


def _jobs(**filters: str) -> str:
    return f"/v1/jobs?{urlencode({'limit': '50'} | filters)}"


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena = conditions.arena
    due = _DUE if name == "full" else 0
    jobs = max(due, windows.backlog_for(conditions.seconds))
    with arena.turn(entrant_named(STEEPLE), places=jobs) as turn:
        if name == "full":
            _fill(turn, jobs)
        else:
            backlog.add_due(arena, jobs)
        arena.settle()
        rate = windows.rate_within(turn, jobs, conditions.seconds, lambda: _start_all(turn))
        return {"rate": rate} | _look_through(turn, conditions.seconds * _PAGES_SHARE)


def _start_all(turn: Turn) -> None:
    turn.start(parts.scheduler())
    turn.start(parts.worker(2))


def _fill(turn: Turn, due: int) -> None:
    """By what the last round of this run left, where there was one; the jobs that are due are new each time."""
    arena = turn.arena
    with arena.connect("postgres") as connection:
        is_there = bool(parts.number_of(connection, _EXISTS, _STOCK))
        if is_there:
            connection.execute(_DISCONNECT, [[_DATABASE]])
            connection.execute(f"DROP DATABASE {_DATABASE}")
            connection.execute(f"ALTER DATABASE {_STOCK} RENAME TO {_DATABASE}")
    turn.at_end(lambda: _keep(arena))
    if not is_there:
        backlog.add_history(arena, FINISHED, FINISHED // 10)
    backlog.add_due(arena, due)


def _keep(arena: Arena) -> None:
    """Once nobody works on it."""
    with arena.connect() as connection:
        connection.execute(_FORGET_RUN)
        connection.execute("UPDATE workers SET ended_at = now() WHERE ended_at IS NULL")
    with arena.connect("postgres") as connection:
        connection.execute(_DISCONNECT, [[_DATABASE]])
        connection.execute(f"ALTER DATABASE {_DATABASE} RENAME TO {_STOCK}")


def _look_through(turn: Turn, seconds: float) -> dict[str, float]:
    """For each kind of page the time that 95 in 100 do not exceed, in milliseconds; one is asked for at a time."""
    port = turn.arena.port
    turn.start(parts.scheduler())
    turn.start(parts.api(port))
    parts.wait_for_server(port)
    kinds = [_Pages("list", "list", _listed(port)), *_pages()]
    return {kind.name: _slowest(port, kind, seconds) for kind in kinds}


def _slowest(port: int, kind: _Pages, seconds: float) -> float:
    requests = [get(path) for path in kind.paths]
    return send(Plan(port, 1, seconds, requests, 200, at_least=len(requests))).share_within(0.95)


def _listed(port: int) -> list[str]:
    """The first pages of the list of all jobs, as somebody would go from one to the next."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    paths = [_jobs()]
    while len(paths) < _LISTED_PAGES:
        connection.request("GET", paths[-1])
        reply = connection.getresponse()
        page = json.loads(reply.read())
        if reply.status != 200:
            raise ContestantFailed(f"{paths[-1]}: {page}")
        if page["next_cursor"] is None:
            break
        paths.append(_jobs(cursor=page["next_cursor"]))
    connection.close()
    return paths


ROW = Row(
    name="full",
    title="Tables full of history",
    contestants=["full", "empty"],
    figures=[
        Figure("rate", "no-op jobs drained", "jobs/s"),
        Figure("list", "list, p95", "ms", better="lower"),
        *(Figure(kind.name, f"{kind.title}, p95", "ms", better="lower") for kind in _pages()),
    ],
    measure=_measure,
    note=f"{FINISHED:,} finished jobs, {_DUE:,} in the future and {_DUE:,} due (`BENCH_ROWS` in the environment is the"
    " first of these), against nothing but enough that are due; the queues are the same. Pages of 50 over HTTP, one"
    " at a time, when the worker has stopped; next to them a scheduler.",
    first="full",
    titles={"full": "full tables", "empty": "empty tables"},
)

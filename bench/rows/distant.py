"""PostgreSQL further away: 2 ms there and back, for Steeple and for Celery that keeps its results there."""

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from time import monotonic, sleep
from urllib.parse import parse_qs, urlsplit

import psycopg

from bench.arena import Arena, ContestantFailed, Turn, free_port
from bench.drains import Load, drain_in
from bench.environments import NotToBeHad, python_of
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row

_LOAD = Load("noop", "short")
_EACH_WAY_SECONDS = 0.001
_PATIENCE = 30.0


@dataclass(frozen=True)
class _Place:
    """``seconds``: the delay each way."""

    title: str
    entrant: str
    seconds: float
    first_guess: float


_CELERY = "celery_results"
_PLACES = {
    "steeple-far": _Place("Steeple, 2 ms away", STEEPLE, _EACH_WAY_SECONDS, 5000.0),
    "steeple-near": _Place("Steeple, no delay", STEEPLE, 0.0, 8000.0),
    "celery-far": _Place("Celery with database results, 2 ms away", _CELERY, _EACH_WAY_SECONDS, 100.0),
    "celery-near": _Place("Celery with database results, no delay", _CELERY, 0.0, 300.0),
}


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    place, known_as = _PLACES[name], f"distant {name}"
    entrant = entrant_named(place.entrant)
    try:
        python_of(entrant.environment, entrant.oldest_python)
    except NotToBeHad as reason:
        raise ContestantFailed(f"not installed: {reason}") from reason
    jobs = max(300, int(conditions.rates.get(known_as, place.first_guess) * conditions.seconds))
    with conditions.arena.turn(entrant, places=jobs) as turn:
        port = free_port()
        turn.start([sys.executable, "-m", "bench.proxy", str(port), _socket(conditions.arena), str(place.seconds)])
        url = f"postgresql://{urlsplit(conditions.arena.database).username}@127.0.0.1:{port}/bench?sslmode=disable"
        _wait_for_proxy(url)
        drained = drain_in(turn, conditions, _LOAD, jobs, lambda: _start(turn, url))
    conditions.rates[known_as] = drained.rate
    return {"rate": drained.rate}


def _socket(arena: Arena) -> str:
    """The path of the server's own socket."""
    asked = parse_qs(urlsplit(arena.database).query)
    return f"{asked['host'][0]}/.s.PGSQL.{asked['port'][0]}"


def _wait_for_proxy(url: str) -> None:
    deadline = monotonic() + _PATIENCE
    while True:
        try:
            with closing(psycopg.connect(url)):
                return
        except psycopg.OperationalError as error:
            if monotonic() > deadline:
                raise ContestantFailed(f"no way through the proxy: {error}") from error
            sleep(0.05)


def _start(turn: Turn, url: str) -> None:
    for command in turn.ask("workers", workload=_LOAD.workload):
        turn.start(command, {"BENCH_DATABASE": url, "STEEPLE_DATABASE_URL": url})


ROW = Row(
    name="distant",
    title="No-op jobs drained, with 2 ms there and back to PostgreSQL",
    contestants=list(_PLACES),
    figures=[Figure("rate", "no-op jobs drained", "jobs/s", is_log=True)],
    measure=_measure,
    note="Workers and scheduler reach PostgreSQL through a proxy, with a delay of 1 ms each way or none; jobs are"
    " submitted, and counted at the end, without it. Each is to be compared with itself.",
    first="steeple-far",
    titles={name: place.title for name, place in _PLACES.items()},
)

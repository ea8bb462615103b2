"""The commands of Steeple's own parts, for the rows about Steeple alone, and waiting until they are there."""

import sys
from http.client import HTTPConnection, HTTPException
from time import monotonic, sleep

import psycopg

from bench.arena import Arena, ContestantFailed

_APP = "bench.contestants.steeple:app"
_STEEPLE = (sys.executable, "-m", "steeple")

_START_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.05

# Workers that have registered and not ended.
_WORKERS = "SELECT count(*) FROM workers WHERE ended_at IS NULL"


def api(port: int) -> list[str]:
    return [*_STEEPLE, "api", _APP, "--port", str(port)]


def scheduler() -> list[str]:
    return [*_STEEPLE, "scheduler"]


def worker(slots: int = 2) -> list[str]:
    return [*_STEEPLE, "worker", _APP, "--slots", str(slots)]


def wait_for_server(port: int) -> None:
    """Until something answers there, whatever it says. Raises ``ContestantFailed``."""
    deadline = monotonic() + _START_SECONDS
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
        try:
            connection.request("GET", "/livez")
            connection.getresponse().read()
        except (OSError, HTTPException) as error:
            if monotonic() > deadline:
                raise ContestantFailed(f"no answer at port {port} after {_START_SECONDS:g} s: {error}") from error
            sleep(_LOOK_AGAIN_SECONDS)
        else:
            return
        finally:
            connection.close()


def wait_for_workers(arena: Arena, count: int = 1) -> None:
    """Until so many workers have registered. Raises ``ContestantFailed``."""
    deadline = monotonic() + _START_SECONDS
    with arena.connect() as connection:
        while number_of(connection, _WORKERS) < count:
            if monotonic() > deadline:
                raise ContestantFailed(f"no {count} workers after {_START_SECONDS:g} s")
            sleep(_LOOK_AGAIN_SECONDS)


def number_of(connection: "psycopg.Connection[tuple[int, ...]]", query: str, *values: object) -> int:
    """The one number that a query gives."""
    found = connection.execute(query, values).fetchone()
    assert found is not None
    return int(found[0])

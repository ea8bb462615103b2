"""Steeple itself: jobs submitted from Python, a scheduler, and a worker with two slots."""

import sys
from collections.abc import Sequence
from typing import Any

import psycopg

from bench import bodies, places
from steeple import Steeple
from steeple.settings import Settings
from steeple.store.migrate import upgrade

DISTRIBUTIONS = ("steeple", "celery", "psycopg")
RECORD = "job, arguments, result, times and errors in PostgreSQL, durably"
SETTINGS = "defaults, 2 slots; submit_batch"
ROUGH_RATE = 10000

_BATCH = 10000

app = Steeple()
app.task("noop")(bodies.noop)
app.task("sleep")(bodies.sleep)
app.task("compute")(bodies.compute)
app.task("wait")(bodies.wait)

# How many jobs have ended well.
_FINISHED = "SELECT count(*) FROM jobs WHERE state = 'SUCCESS'"


def prepare() -> None:
    address = Settings().database_url
    assert address is not None
    upgrade(address.get_secret_value())


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    if len(arguments) == 1:
        app.submit(task, arguments[0])
        return
    for first in range(0, len(arguments), _BATCH):
        app.submit_batch(task, arguments[first : first + _BATCH])


def finished() -> int | None:
    with psycopg.connect(places.database()) as connection:
        found = connection.execute(_FINISHED).fetchone()
    return None if found is None else int(found[0])


def workers(workload: str) -> list[list[str]]:
    steeple = [sys.executable, "-m", "steeple"]
    return [[*steeple, "scheduler"], [*steeple, "worker", f"{__name__}:app", "--slots", "2"]]

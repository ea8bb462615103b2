"""Procrastinate on PostgreSQL: two workers."""

from collections.abc import Sequence
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector

from bench import bodies, places
from bench.contestants import coroutines

DISTRIBUTIONS = ("procrastinate", "psycopg")
RECORD = "job, arguments and events in PostgreSQL, durably; no results"
SETTINGS = "2 processes, 10 jobs at once each, 4 for long tasks, 1 for mixed, 128 for waiting; batch_defer"
ROUGH_RATE = 300

_AT_ONCE = {"short": "10", "long": "4", "mixed": "1", "waiting": "128"}
_BATCH = 1000

app = App(connector=PsycopgConnector(conninfo=places.database()))
TASKS = {
    "noop": app.task(name="noop")(coroutines.noop),
    "sleep": app.task(name="sleep")(coroutines.sleep),
    "compute": app.task(name="compute")(coroutines.compute),
    "wait": app.task(name="wait")(bodies.wait),
}

# How many jobs have ended well.
_FINISHED = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"


def prepare() -> None:
    coroutines.run(_prepare())


async def _prepare() -> None:
    await app.open_async()
    await app.schema_manager.apply_schema_async()


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    coroutines.run(_enqueue(task, arguments))


async def _enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    for first in range(0, len(arguments), _BATCH):
        await TASKS[task].batch_defer_async(*arguments[first : first + _BATCH])


def finished() -> int | None:
    with psycopg.connect(places.database()) as connection:
        found = connection.execute(_FINISHED).fetchone()
    return None if found is None else int(found[0])


def workers(workload: str) -> list[list[str]]:
    command = [places.program("procrastinate"), "--app", f"{__name__}.app", "worker"]
    return [[*command, "--concurrency", _AT_ONCE[workload]]] * 2

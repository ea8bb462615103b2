"""Oban for Python on PostgreSQL: two nodes."""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from oban import Oban, worker
from oban.schema import install

from bench import bodies, places
from bench.contestants import coroutines

DISTRIBUTIONS = ("oban", "psycopg", "uvloop")
RECORD = "job and arguments in PostgreSQL, durably; no results"
SETTINGS = "2 processes, uvloop, 10 jobs at once each, 4 for long tasks, 1 for mixed, 128 for waiting"
ROUGH_RATE = 500

_AT_ONCE = {"short": 10, "long": 4, "mixed": 1, "waiting": 128}
_BATCH = 1000

# How many jobs have ended well.
_FINISHED = "SELECT count(*) FROM oban_jobs WHERE state = 'completed'"

_oban: Oban | None = None


def _worker(name: str, body: Callable[..., Any]) -> Any:
    async def process(self: Any, job: Any) -> None:
        await body(**job.args)

    return worker(queue="default")(type(name, (), {"process": process, "__module__": __name__, "__qualname__": name}))


noop = _worker("noop", coroutines.noop)
sleep = _worker("sleep", coroutines.sleep)
compute = _worker("compute", coroutines.compute)
wait = _worker("wait", bodies.wait)


def prepare() -> None:
    coroutines.run(_prepare())


async def _prepare() -> None:
    global _oban
    pool = await Oban.create_pool(places.database())
    await install(pool)
    _oban = Oban(pool=pool)


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    coroutines.run(_enqueue(task, arguments))


async def _enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    assert _oban is not None
    for first in range(0, len(arguments), _BATCH):
        await _oban.enqueue_many(globals()[task].new(each) for each in arguments[first : first + _BATCH])


def finished() -> int | None:
    with psycopg.connect(places.database()) as connection:
        found = connection.execute(_FINISHED).fetchone()
    return None if found is None else int(found[0])


def workers(workload: str) -> list[list[str]]:
    command = [places.program("oban"), "start", "--dsn", places.database(), "--log-level", "warning"]
    options = ["--queues", f"default:{_AT_ONCE[workload]}", "--cron-modules", __name__]
    return [[*command, *options, "--node", f"bench-{number}"] for number in range(2)]

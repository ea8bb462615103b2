"""PgQueuer on PostgreSQL with asyncpg, its faster driver: two workers."""

import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench import bodies, places
from bench.contestants import coroutines

DISTRIBUTIONS = ("pgqueuer", "asyncpg", "uvloop")
RECORD = "a line in its log in PostgreSQL, durably; no arguments of finished jobs, no results"
SETTINGS = "2 processes, asyncpg, batches of 50 for short tasks, 2 for long, 1 for mixed, 64 for waiting"
ROUGH_RATE = 2000

_BATCH = {"short": "50", "long": "2", "mixed": "1", "waiting": "64"}
_MOST = {"short": "0", "long": "4", "mixed": "2", "waiting": "128"}
"""At once; twice a batch at least, 0 is no limit."""

_ENQUEUED_AT_ONCE = 5000

# How many jobs have ended well.
_FINISHED = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"

_queries: Queries | None = None


@asynccontextmanager
async def worker() -> AsyncGenerator[PgQueuer]:
    """As PgQueuer's command wants it."""
    connection = await asyncpg.connect(places.database())
    queue = PgQueuer(AsyncpgDriver(connection))
    for body in (coroutines.noop, coroutines.sleep, coroutines.compute, bodies.wait):
        queue.entrypoint(body.__name__)(_entrypoint(body))
    yield queue
    await connection.close()


def _entrypoint(body: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[[Job], Coroutine[Any, Any, None]]:
    async def call(job: Job) -> None:
        assert job.payload is not None
        await body(**json.loads(job.payload))

    return call


def prepare() -> None:
    coroutines.run(_prepare())


async def _prepare() -> None:
    global _queries
    _queries = Queries(AsyncpgDriver(await asyncpg.connect(places.database())))
    await _queries.install()


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    coroutines.run(_enqueue(task, arguments))


async def _enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    assert _queries is not None
    for first in range(0, len(arguments), _ENQUEUED_AT_ONCE):
        some = arguments[first : first + _ENQUEUED_AT_ONCE]
        payloads = [json.dumps(each).encode() for each in some]
        await _queries.enqueue([task] * len(some), payloads, [0] * len(some))


def finished() -> int | None:
    assert _queries is not None
    return int(coroutines.run(_queries.driver.fetch(_FINISHED))[0]["count"])


def workers(workload: str) -> list[list[str]]:
    command = [places.program("pgq"), "run", f"{__name__}:worker", "--batch-size", _BATCH[workload]]
    return [[*command, "--max-concurrent-tasks", _MOST[workload]]] * 2

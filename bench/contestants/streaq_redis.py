"""streaQ on Redis."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from streaq import Worker

from bench import bodies, places
from bench.contestants import coroutines

DISTRIBUTIONS = ("streaq", "coredis", "uvloop")
RECORD = "results in Redis for 5 minutes; as durable as Redis is, here not at all"
SETTINGS = "2 processes, uvloop; 16 jobs at once each (its default), 4 for long tasks, 1 for mixed, 128 for waiting"
ROUGH_RATE = 3000

_AT_ONCE = {"short": 16, "long": 4, "mixed": 1, "waiting": 128}
_CONCURRENCY = "BENCH_STREAQ_CONCURRENCY"
_BATCH = 1000

_opened: asyncio.Task[None] | None = None

worker = Worker(
    redis_url=places.broker(),
    concurrency=int(os.environ.get(_CONCURRENCY, "16")),
    sync_concurrency=1,
    anyio_kwargs={"use_uvloop": True},
)
TASKS = {
    "noop": worker.task(name="noop", silent=True)(coroutines.noop),
    "sleep": worker.task(name="sleep", silent=True)(bodies.sleep),
    "compute": worker.task(name="compute", silent=True)(bodies.compute),
    "wait": worker.task(name="wait", silent=True)(bodies.wait),
}


def prepare() -> None:
    coroutines.run(_open())


async def _open() -> None:
    """From a task of its own, which stays: what opens the connection has to close it."""
    global _opened
    is_open = asyncio.Event()
    _opened = asyncio.create_task(_stay_open(is_open))
    await is_open.wait()


async def _stay_open(is_open: asyncio.Event) -> None:
    async with worker:
        is_open.set()
        await asyncio.Event().wait()


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    coroutines.run(_enqueue(task, arguments))


async def _enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    for first in range(0, len(arguments), _BATCH):
        some = arguments[first : first + _BATCH]
        await worker.enqueue_many([TASKS[task].enqueue(**each) for each in some])


def finished() -> int | None:
    return None


def workers(workload: str) -> list[list[str]]:
    concurrency = ["/usr/bin/env", f"{_CONCURRENCY}={_AT_ONCE[workload]}"]
    return [[*concurrency, places.program("streaq"), "run", f"{__name__}:worker", "--workers", "2"]]

"""SAQ on Redis."""

import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from saq import Job, Queue

from bench import bodies, places
from bench.contestants import coroutines

DISTRIBUTIONS = ("saq", "redis", "hiredis", "uvloop")
RECORD = "job, arguments and result in Redis for 10 minutes; as durable as Redis is, here not at all"
SETTINGS = "2 processes; 10 jobs at once each (its default), 4 for long tasks, 1 for mixed, 128 for waiting"
ROUGH_RATE = 1500

_AT_ONCE = {"short": 10, "long": 4, "mixed": 1, "waiting": 128}
_CONCURRENCY = "BENCH_SAQ_CONCURRENCY"

queue = Queue.from_url(places.broker())
_handed_over = 0


def _function(body: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def call(context: Any, **arguments: Any) -> Any:
        return await body(**arguments)

    return call


settings = {
    "queue": queue,
    "functions": [
        ("noop", _function(coroutines.noop)),
        ("sleep", _function(coroutines.sleep)),
        ("compute", _function(coroutines.compute)),
        ("wait", _function(bodies.wait)),
    ],
    "concurrency": int(os.environ.get(_CONCURRENCY, "10")),
}


def prepare() -> None:
    coroutines.run(queue.connect())


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    global _handed_over
    coroutines.run(_enqueue(task, arguments))
    _handed_over += len(arguments)


async def _enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    for each in arguments:
        await queue.enqueue(Job(task, kwargs=each, timeout=0))


def finished() -> int | None:
    return _handed_over - int(coroutines.run(queue.count("incomplete")))


def workers(workload: str) -> list[list[str]]:
    concurrency = ["/usr/bin/env", f"{_CONCURRENCY}={_AT_ONCE[workload]}"]
    return [[*concurrency, places.program("saq"), f"{__name__}.settings", "--workers", "2", "--quiet"]]

"""arq on Redis: two workers."""

import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import func

from bench import bodies, places
from bench.contestants import coroutines

DISTRIBUTIONS = ("arq", "redis", "hiredis")
RECORD = "arguments and result in Redis for an hour; as durable as Redis is, here not at all"
SETTINGS = (
    "2 processes; poll_delay 10 ms; 10 jobs at once each (its default), 4 for long tasks, 1 for mixed, 128 for waiting"
)
ROUGH_RATE = 700

_AT_ONCE = {"short": 10, "long": 4, "mixed": 1, "waiting": 128}
_MAX_JOBS = "BENCH_ARQ_MAX_JOBS"
_QUEUE = "arq:queue"

_pool: ArqRedis | None = None
_handed_over = 0


def _function(name: str, body: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
    async def call(context: Any, **arguments: Any) -> Any:
        return await body(**arguments)

    return func(call, name=name)


class WorkerSettings:
    """As arq's command wants it."""

    functions = (
        _function("noop", coroutines.noop),
        _function("sleep", coroutines.sleep),
        _function("compute", coroutines.compute),
        _function("wait", bodies.wait),
    )
    redis_settings = RedisSettings.from_dsn(places.broker())
    poll_delay = 0.01
    max_jobs = int(os.environ.get(_MAX_JOBS, "10"))


def prepare() -> None:
    global _pool
    _pool = coroutines.run(create_pool(WorkerSettings.redis_settings))


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    global _handed_over
    coroutines.run(_enqueue(task, arguments))
    _handed_over += len(arguments)


async def _enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    assert _pool is not None
    for each in arguments:
        await _pool.enqueue_job(task, **each)


def finished() -> int | None:
    """Those that are no longer in the queue: arq takes a job out when its result is written."""
    assert _pool is not None
    return _handed_over - int(coroutines.run(_pool.zcard(_QUEUE)))


def workers(workload: str) -> list[list[str]]:
    most = ["/usr/bin/env", f"{_MAX_JOBS}={_AT_ONCE[workload]}"]
    return [[*most, places.program("arq"), f"{__name__}.WorkerSettings"]] * 2

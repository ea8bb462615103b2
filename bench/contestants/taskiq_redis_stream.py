"""Taskiq on a Redis stream, the broker that its documentation recommends."""

import os
from collections.abc import Sequence
from typing import Any

from taskiq_redis import RedisStreamBroker

from bench import bodies, places
from bench.contestants import coroutines

DISTRIBUTIONS = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")
RECORD = "none: results are dropped; a job stays in the stream, as durable as Redis is, here not at all"
SETTINGS = "2 processes, uvloop; 100 jobs at once each (its default), 4 for long tasks, 1 for mixed, 128 for waiting"
ROUGH_RATE = 2500

_AT_ONCE = {"short": 100, "long": 4, "mixed": 1, "waiting": 128}
_READ = "BENCH_TASKIQ_READ"

broker = RedisStreamBroker(places.broker(), consumer_id="0", xread_count=int(os.environ.get(_READ, "100")))
TASKS = {
    "noop": broker.task(task_name="noop")(coroutines.noop),
    "sleep": broker.task(task_name="sleep")(bodies.sleep),
    "compute": broker.task(task_name="compute")(bodies.compute),
    "wait": broker.task(task_name="wait")(bodies.wait),
}


def prepare() -> None:
    coroutines.run(broker.startup())


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    coroutines.run(_enqueue(task, arguments))


async def _enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    for each in arguments:
        await TASKS[task].kiq(**each)


def finished() -> int | None:
    return None


def workers(workload: str) -> list[list[str]]:
    at_once = str(_AT_ONCE[workload])
    command = ["/usr/bin/env", f"{_READ}={at_once}", places.program("taskiq"), "worker", f"{__name__}:broker"]
    options = ["--workers", "2", "--no-parse", "--log-level", "WARNING", "--max-threadpool-threads", "1"]
    return [[*command, *options, "--max-async-tasks", at_once]]

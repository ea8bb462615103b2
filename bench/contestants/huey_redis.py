"""Huey on Redis."""

from collections.abc import Sequence
from typing import Any

from huey import RedisHuey

from bench import bodies, places

DISTRIBUTIONS = ("huey", "redis", "hiredis")
RECORD = "none: a job is gone from Redis when a worker takes it, its result is dropped"
SETTINGS = "2 worker processes, results off, no periodic tasks, no health check"
ROUGH_RATE = 1500

huey = RedisHuey("bench", url=places.broker(), results=False)
TASKS = {body.__name__: huey.task()(body) for body in (bodies.noop, bodies.sleep, bodies.compute)}


def prepare() -> None:
    """Nothing: Redis needs no preparation."""


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    wrapped = TASKS[task]
    for each in arguments:
        wrapped(**each)


def finished() -> int | None:
    return None


def workers(workload: str) -> list[list[str]]:
    command = [places.program("huey_consumer"), f"{__name__}.huey", "--workers=2", "--worker-type=process"]
    return [[*command, "--no-periodic", "--disable-health-check", "--quiet"]]

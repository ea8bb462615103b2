"""Dramatiq on Redis."""

from collections.abc import Sequence
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench import bodies, places

DISTRIBUTIONS = ("dramatiq", "redis", "hiredis")
RECORD = "none: a job is gone from Redis when it is acknowledged, its result is dropped"
SETTINGS = "2 processes, 1 thread each; prefetch 128, 2 (its default) for long tasks, 1 for mixed; only Retries"
ROUGH_RATE = 1500

_PREFETCH = {"short": 128, "long": 2, "mixed": 1, "waiting": 1}

broker = RedisBroker(url=places.broker(), middleware=[dramatiq.middleware.Retries()])
dramatiq.set_broker(broker)
ACTORS = {body.__name__: dramatiq.actor(body) for body in (bodies.noop, bodies.sleep, bodies.compute)}


def prepare() -> None:
    """Nothing: Redis needs no preparation."""


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    actor = ACTORS[task]
    for each in arguments:
        actor.send(**each)


def finished() -> int | None:
    return None


def workers(workload: str) -> list[list[str]]:
    prefetch = ["/usr/bin/env", f"dramatiq_queue_prefetch={_PREFETCH[workload]}"]
    return [[*prefetch, places.program("dramatiq"), "--processes", "2", "--threads", "1", __name__]]

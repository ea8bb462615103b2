"""Celery on Redis with processes, as most people run it, keeping no results."""

from collections.abc import Sequence
from typing import Any

from bench.contestants import celery_app

DISTRIBUTIONS = ("celery", "kombu", "redis", "hiredis")
RECORD = "none: a job is gone from Redis when a worker takes it, its result is dropped"
SETTINGS = "prefork, 2 processes; prefetch 128, 4 for long tasks, 1 for mixed; no gossip, mingle, heartbeat, events"
ROUGH_RATE = 1000

app = celery_app.make_app()


def prepare() -> None:
    """Nothing: Redis needs no preparation."""


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    celery_app.enqueue(app, task, arguments)


def finished() -> int | None:
    return None


def workers(workload: str) -> list[list[str]]:
    return celery_app.worker(__name__, workload, "prefork")

"""RQ: two workers that run jobs in their own process, which its documentation names as the fastest."""

from collections.abc import Sequence
from typing import Any

from redis import Redis
from rq import Queue

from bench import bodies, places

DISTRIBUTIONS = ("rq", "redis", "hiredis")
RECORD = "job, arguments and result in Redis for 500 s; as durable as Redis is, here not at all"
SETTINGS = "2 SimpleWorkers (no fork for each job), descriptions not logged; enqueue_many"
ROUGH_RATE = 500

_AT_ONCE = 1000

queue = Queue(connection=Redis.from_url(places.broker()))


def prepare() -> None:
    """Nothing: Redis needs no preparation."""


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    body = getattr(bodies, task)
    for first in range(0, len(arguments), _AT_ONCE):
        some = arguments[first : first + _AT_ONCE]
        queue.enqueue_many([Queue.prepare_data(body, kwargs=each) for each in some])


def finished() -> int | None:
    return len(queue.finished_job_registry)


def workers(workload: str) -> list[list[str]]:
    command = [places.program("rq"), "worker", "--url", places.broker(), "--worker-class", "rq.SimpleWorker"]
    return [[*command, "--quiet", "--disable-job-desc-logging"]] * 2

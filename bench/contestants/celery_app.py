"""Celery's tasks and settings, which its three ways of running share. No contestant by itself.

The settings are those of Celery's own guide to optimising: a long prefetch for short tasks, its default for longer
ones, none to speak of where both are mixed; no gossip, no mingling, no heartbeats, no events.
"""

from collections.abc import Sequence
from typing import Any

from celery import Celery

from bench import bodies, places

_PREFETCH = {"short": 128, "long": 4, "mixed": 1, "waiting": 1}


def make_app(result_backend: str | None = None) -> Celery:
    """Without a backend no results are stored."""
    app = Celery("bench", broker=places.broker(), backend=result_backend)
    app.conf.update(
        task_ignore_result=result_backend is None,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
    )
    for body in (bodies.noop, bodies.sleep, bodies.compute):
        app.task(body, name=body.__name__)
    app.finalize()
    return app


def enqueue(app: Celery, task: str, arguments: Sequence[dict[str, Any]]) -> None:
    """Celery has no bulk call. One producer for all spares taking one from the pool for each."""
    signature = app.tasks[task]
    with app.producer_pool.acquire(block=True) as producer:
        for each in arguments:
            signature.apply_async(kwargs=each, producer=producer)


def worker(module: str, workload: str, pool: str) -> list[list[str]]:
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    options += [f"--pool={pool}", "--concurrency=2", f"--prefetch-multiplier={_PREFETCH[workload]}"]
    return [[places.program("celery"), "--app", module, "worker", *options]]

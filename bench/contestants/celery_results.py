"""Celery on Redis with processes, and its results in PostgreSQL by its own SQLAlchemy backend."""

from collections.abc import Sequence
from typing import Any

import psycopg

from bench import places
from bench.contestants import celery_app

DISTRIBUTIONS = ("celery", "kombu", "redis", "hiredis", "sqlalchemy", "psycopg")
RECORD = "the result in PostgreSQL, durably; a job only in Redis, and gone from there when a worker takes it"
SETTINGS = "as Celery; SQLAlchemy result backend on psycopg 3"
ROUGH_RATE = 300

app = celery_app.make_app(places.database().replace("postgresql://", "db+postgresql+psycopg://", 1))

# How many results say that all went well.
_FINISHED = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"


def prepare() -> None:
    """Have the backend make its tables now: two workers that both do so get in each other's way."""
    app.backend.ResultSession()


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    celery_app.enqueue(app, task, arguments)


def finished() -> int | None:
    with psycopg.connect(places.database()) as connection:
        found = connection.execute(_FINISHED).fetchone()
    return None if found is None else int(found[0])


def workers(workload: str) -> list[list[str]]:
    return celery_app.worker(__name__, workload, "prefork")

"""Who takes part, in which virtual environment, and what each can do.

``environment`` names a dependency group of pyproject.toml, ``bench-…``; an empty one is the bench's own environment.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entrant:
    """``name`` is the module in ``contestants``, ``title`` what readers know it as.

    ``runs_coroutines``: has a way of its own to run ``async def``. ``is_quick``: part of the quick run.
    """

    name: str
    title: str
    environment: str
    oldest_python: tuple[int, int] = (3, 11)
    runs_coroutines: bool = False
    is_quick: bool = False


STEEPLE = "steeple"
STEEPLE_HTTP = "steeple_http"

ENTRANTS = (
    Entrant(STEEPLE, "Steeple", "", runs_coroutines=True, is_quick=True),
    Entrant("celery_plain", "Celery", "celery", is_quick=True),
    Entrant("celery_results", "Celery, database results", "celery"),
    Entrant("celery_threads", "Celery, threads", "celery"),
    Entrant("dramatiq_redis", "Dramatiq", "dramatiq"),
    Entrant("rq_redis", "RQ", "rq"),
    Entrant("huey_redis", "Huey", "huey"),
    Entrant("taskiq_redis_stream", "Taskiq", "taskiq", runs_coroutines=True),
    Entrant("saq_redis", "SAQ", "saq", runs_coroutines=True, is_quick=True),
    Entrant("arq_redis", "arq", "arq", runs_coroutines=True),
    Entrant("streaq_redis", "streaQ", "streaq", runs_coroutines=True),
    Entrant("procrastinate_postgres", "Procrastinate", "procrastinate", runs_coroutines=True),
    Entrant("pgqueuer_postgres", "PgQueuer", "pgqueuer", runs_coroutines=True),
    Entrant("oban_postgres", "Oban", "oban", oldest_python=(3, 12), runs_coroutines=True),
)

"""Those that take part in every row, as far as they can."""

EVERYBODY = (*ENTRANTS, Entrant(STEEPLE_HTTP, "Steeple over HTTP", ""))


def entrant_named(name: str) -> Entrant:
    return next(entrant for entrant in EVERYBODY if entrant.name == name)

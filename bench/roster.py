"""Who takes part, in which virtual environment, and what each can do.

``environment`` names a dependency group of pyproject.toml, ``bench-…``; an empty one is the bench's own environment.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entrant:
    """``name`` is the module in ``contestants``. ``runs_coroutines``: has a way of its own to run ``async def``."""

    name: str
    environment: str
    oldest_python: tuple[int, int] = (3, 11)
    runs_coroutines: bool = False
    runs_blocking: bool = True
    is_quick: bool = False


STEEPLE = "steeple"

ENTRANTS = (
    Entrant(STEEPLE, "", runs_coroutines=True, is_quick=True),
    Entrant("celery_plain", "celery", is_quick=True),
)


def entrant_named(name: str) -> Entrant:
    return next(entrant for entrant in ENTRANTS if entrant.name == name)

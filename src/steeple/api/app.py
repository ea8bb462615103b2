"""The ASGI application: routes, what is around them, and what they work with."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp

from steeple.api import (
    flows,
    health,
    job_changes,
    jobs,
    limits,
    openapi,
    operations,
    pages,
    queue_changes,
    queues,
    schedule_actions,
    schedules,
    submits,
    tasks,
    why,
    workers,
)
from steeple.api.direct import DirectRoute
from steeple.api.envelope import Envelope
from steeple.api.services import Services, attach
from steeple.app import Steeple
from steeple.settings import Settings

_PARTS = (
    submits,
    jobs,
    why,
    job_changes,
    flows,
    operations,
    schedules,
    schedule_actions,
    tasks,
    queues,
    queue_changes,
    limits,
    workers,
    health,
    pages,
)


def create_app(app: Steeple | None, settings: Settings) -> FastAPI:
    """The API over the database and broker that the settings name; nothing is connected before it is needed.

    Without an ``app`` it accepts jobs for the tasks that workers have registered.
    """
    services = Services(app, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await services.close()

    api = FastAPI(
        title="Steeple",
        version=version("steeple"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers={HTTPException: _raise, RequestValidationError: _raise},
    )
    attach(services, api)
    # As they are: a router that is included is matched anew in each request.
    api.router.routes.extend(route for part in _PARTS for route in part.router.routes)
    api.add_middleware(Envelope, shortcuts=_shortcuts(api.router.routes))
    api.openapi = lambda: openapi.document(api)  # type: ignore[method-assign]
    return api


def _shortcuts(routes: Sequence[BaseRoute]) -> dict[tuple[str, str], ASGIApp]:
    direct = (route for route in routes if isinstance(route, DirectRoute))
    return {(method, route.path): route.app for route in direct for method in route.methods or ()}


async def _raise(request: Request, error: Exception) -> Response:
    """Leaves an error to the envelope, like all others; it only lacks what the routes know."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request.app.routes, request)))
        raise HTTPException(405, headers={"Allow": allowed}) from error
    raise error


def _methods(routes: Sequence[BaseRoute], request: Request) -> set[str]:
    """The methods that a request's path knows, in whichever routes."""
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return found | ({"HEAD"} if "GET" in found else set())

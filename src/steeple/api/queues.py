"""Queues as they are: what waits in them, how fast it goes, and what was set for them."""

import json
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from steeple.api import openapi, schemas
from steeple.api.deps import Reader
from steeple.api.problem_kinds import Kind
from steeple.api.problems import refusal
from steeple.api.render import time_text
from steeple.api.replies import json_reply
from steeple.api.requests import NoQuery
from steeple.api.services import services_of
from steeple.domain.priority import is_queue_name
from steeple.domain.states import State
from steeple.domain.statistics import QueueStatistics
from steeple.store.queue_settings import QueueSettings, all_settings, read_settings

QueueName = Annotated[str, Path(description="The queue's name.")]

router = APIRouter(prefix="/v1/queues", tags=["queues"])


@router.get(
    "",
    operation_id="list_queues",
    summary="List the queues",
    response_model=schemas.Queues,
    response_description="The queues, by name.",
    responses=openapi.problems(),
)
async def list_queues(request: Request, caller: Reader, query: Annotated[NoQuery, Query()]) -> Response:
    """Each queue with the number of its jobs in each state, how long the oldest has waited, its throughput, and what
    was set for it.

    With so many pending jobs that counting them takes a while, the figures may be some seconds old.
    """
    services = services_of(request)
    found = {queue.name: queue for queue in await services.queues.get()}
    settings = await services.reads.run(all_settings)
    names = sorted(found.keys() | settings.keys())
    shown = [queue_document(found.get(name), settings.get(name) or QueueSettings(name)) for name in names]
    return json_reply(json.dumps({"queues": shown}))


@router.get(
    "/{name}",
    operation_id="show_queue",
    summary="Show a queue",
    response_model=schemas.Queue,
    response_description="The queue.",
    responses=openapi.problems(Kind.QUEUE_NOT_FOUND),
)
async def show_queue(request: Request, caller: Reader, name: QueueName, query: Annotated[NoQuery, Query()]) -> Response:
    """The queue as in the list of all."""
    queue_name_of(name)
    settings = (await services_of(request).reads.run(all_settings)).get(name)
    counted = await _counted(request, name)
    if settings is None and counted is None:
        raise refusal(Kind.QUEUE_NOT_FOUND, f"nothing is known of a queue named {name}")
    return json_reply(json.dumps(queue_document(counted, settings or QueueSettings(name))))


async def queue_reply(request: Request, name: str) -> Response:
    """The queue as it is now."""
    settings = await services_of(request).reads.run(lambda connection: read_settings(connection, name))
    return json_reply(json.dumps(queue_document(await _counted(request, name), settings)))


def queue_name_of(text: str) -> str:
    """Raises ``Refusal`` for what cannot be the name of a queue: there is none such."""
    if not is_queue_name(text):
        raise refusal(Kind.QUEUE_NOT_FOUND, "the path has no name that a queue could have")
    return text


def queue_document(counted: QueueStatistics | None, settings: QueueSettings) -> dict[str, object]:
    """``counted`` None: nothing of it was found when queues were counted last."""
    return {
        "name": settings.name,
        "counts": dict.fromkeys(State, 0) if counted is None else counted.counts,
        "oldest_wait": None if counted is None else counted.oldest_wait,
        "throughput": 0.0 if counted is None else counted.throughput,
        "paused": settings.is_paused,
        "paused_at": None if settings.paused_at is None else time_text(settings.paused_at),
        "paused_by": settings.paused_by,
        "pause_note": settings.pause_note,
        "drained": settings.is_drained,
        "default_priority": settings.default_priority,
        "retention": settings.retention,
        "max_running": settings.max_running,
        "rate": None if settings.rate is None else vars(settings.rate),
    }


async def _counted(request: Request, name: str) -> QueueStatistics | None:
    return next((queue for queue in await services_of(request).queues.get() if queue.name == name), None)

"""What can be done to a queue: pause and resume it, drain it, empty it, set what holds for it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from steeple.api import openapi, schemas
from steeple.api.bodies import apart, read_json_text, read_object, read_optional_json_text, require_no_members
from steeple.api.deps import Writer
from steeple.api.problem_kinds import Kind
from steeple.api.queues import QueueName, queue_name_of, queue_reply
from steeple.api.replies import json_reply
from steeple.api.requests import NoQuery, Nothing, QueueChange, QueuePause, QueuePurge
from steeple.api.services import Services, services_of
from steeple.domain.limits import Rate
from steeple.store import purges, queue_settings
from steeple.store.engine import Connection

_LONGEST_PURGE_SECONDS = 10.0
"""What a purge has not done by then is left, and told; the next one goes on."""

router = APIRouter(prefix="/v1/queues", tags=["queues"])


@router.post(
    "/{name}/pause",
    operation_id="pause_queue",
    summary="Pause a queue",
    response_model=schemas.Queue,
    response_description="The queue, paused.",
    responses=openapi.problems(Kind.QUEUE_NOT_FOUND, *openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(QueuePause, {"note": "the archive moves"}, required=False),
)
async def pause_queue(
    request: Request, caller: Writer, name: QueueName, query: Annotated[NoQuery, Query()]
) -> Response:
    """No job of it is started any more, by any worker; those that run go on, and submits are accepted.

    A queue that is paused already stays so; who asked last, and why, is told.
    """
    return await _pause(request, name, caller.title)


@router.post(
    "/{name}/drain",
    operation_id="drain_queue",
    summary="Drain a queue",
    response_model=schemas.Queue,
    response_description="The queue, paused; `drained` once none of its jobs runs any more.",
    responses=openapi.problems(Kind.QUEUE_NOT_FOUND, *openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(QueuePause, {"note": "the archive moves"}, required=False),
)
async def drain_queue(
    request: Request, caller: Writer, name: QueueName, query: Annotated[NoQuery, Query()]
) -> Response:
    """Pause it, and see in `drained` when what runs of it has ended: ask for the queue until it is true."""
    return await _pause(request, name, caller.title)


@router.post(
    "/{name}/resume",
    operation_id="resume_queue",
    summary="Resume a queue",
    response_model=schemas.Queue,
    response_description="The queue, no longer paused.",
    responses=openapi.problems(Kind.QUEUE_NOT_FOUND, *openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(Nothing, {}, required=False),
)
async def resume_queue(
    request: Request, caller: Writer, name: QueueName, query: Annotated[NoQuery, Query()]
) -> Response:
    """Its jobs are started again, and workers woken for those that are due. One that is not paused stays as it is."""
    queue_name_of(name)
    services = services_of(request)
    await require_no_members(request, services.settings.max_body_bytes)
    due = await services.writes.run(lambda connection: queue_settings.resume(connection, name))
    services.wakes.wake(due)
    return await queue_reply(request, name)


@router.post(
    "/{name}/purge",
    operation_id="purge_queue",
    summary="Cancel what is pending in a queue",
    response_model=schemas.Purge,
    response_description="How many jobs were cancelled, or with `dry_run` would be.",
    responses=openapi.problems(Kind.QUEUE_NOT_FOUND, *openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(QueuePurge, {"dry_run": True}, required=False),
)
async def purge_queue(
    request: Request, caller: Writer, name: QueueName, query: Annotated[NoQuery, Query()]
) -> Response:
    """Cancel the jobs that are pending in it now, due or not; those that run go on.

    It ends after 10 s; `remaining` jobs are left then, for another purge.
    """
    queue_name_of(name)
    services = services_of(request)
    text = await read_optional_json_text(request, services.settings.max_body_bytes)
    wanted = await apart(text, lambda body: read_object(body, QueuePurge))
    found = await services.reads.run(lambda connection: purges.count_pending(connection, name))
    if wanted.dry_run:
        done = _Purged(found.jobs, found.jobs)
    else:
        done = await _purge(services, name, found)
    return json_reply(json.dumps({"dry_run": wanted.dry_run, "count": done.count, "remaining": done.remaining}))


@router.patch(
    "/{name}",
    operation_id="update_queue",
    summary="Change what holds for a queue",
    response_model=schemas.Queue,
    response_description="The queue as it is now.",
    responses=openapi.problems(Kind.QUEUE_NOT_FOUND, *openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(QueueChange, {"default_priority": "low", "retention": 86400.0}),
)
async def update_queue(
    request: Request, caller: Writer, name: QueueName, query: Annotated[NoQuery, Query()]
) -> Response:
    """Set a default priority, a retention of its own, how many of its jobs run at once or start in a time.

    What is left out stays; null takes away what was set.
    """
    queue_name_of(name)
    services = services_of(request)
    text = await read_json_text(request, dict(request.scope["headers"]), services.settings.max_body_bytes)
    wanted = await apart(text, lambda body: read_object(body, QueueChange))
    rate = None if wanted.rate is None else Rate(wanted.rate.count, wanted.rate.period, wanted.rate.burst)
    change = queue_settings.QueueChange(
        wanted.model_fields_set, wanted.default_priority, wanted.retention, wanted.max_running, rate
    )
    await services.writes.run(lambda connection: queue_settings.change(connection, name, change))
    return await queue_reply(request, name)


async def _pause(request: Request, name: str, by: str) -> Response:
    queue_name_of(name)
    services = services_of(request)
    text = await read_optional_json_text(request, services.settings.max_body_bytes)
    wanted = await apart(text, lambda body: read_object(body, QueuePause))
    await services.writes.run(lambda connection: queue_settings.pause(connection, name, by=by, note=wanted.note))
    return await queue_reply(request, name)


@dataclass(frozen=True)
class _Purged:
    count: int
    remaining: int


async def _purge(services: Services, name: str, found: purges.Pending) -> _Purged:
    """Batch by batch, each a transaction of its own. Jobs that come meanwhile are not meant."""
    ends, count, after, is_done = monotonic() + _LONGEST_PURGE_SECONDS, 0, None, False
    while not is_done and monotonic() < ends:
        batch = await services.writes.run(_one_batch(name, found, after))
        count, after, is_done = count + batch.jobs, batch.after, batch.after is None
    left = await services.reads.run(lambda connection: purges.count_pending(connection, name, until=found.at))
    return _Purged(count, left.jobs)


def _one_batch(name: str, found: purges.Pending, after: purges.Place | None) -> Callable[[Connection], purges.Purged]:
    return lambda connection: purges.purge(connection, name, until=found.at, after=after)

"""What can be done with a schedule: look ahead, look back, pause, resume, run it now, fill back."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from steeple import schedule_changes
from steeple.api import openapi, schedule_schemas, schemas
from steeple.api.bodies import apart, read_json_text, read_optional_json_text, require_no_members
from steeple.api.deps import Reader, Writer
from steeple.api.problem_kinds import Kind
from steeple.api.render import job_text
from steeple.api.replies import ACCEPTED, find_job, json_reply
from steeple.api.requests import NoQuery, Nothing
from steeple.api.schedule_intake import read_body, while_unchanged
from steeple.api.schedule_requests import (
    MOST_PAGE_FIRES,
    MOST_PREVIEWED,
    BackfillRequest,
    FireQuery,
    PauseRequest,
    PreviewQuery,
    PreviewRequest,
)
from steeple.api.schedule_texts import backfill_text, backfills_text, fires_text, preview_text
from steeple.api.schedules import TAGGED, ScheduleId, find_schedule, schedule_id_of, tagged
from steeple.api.services import services_of
from steeple.domain.priority import Lane, Priority
from steeple.domain.schedule import Definition
from steeple.scheduling import ScheduleOptions, checked, job_of, preview
from steeple.scheduling import preview_rule as preview_of_rule
from steeple.store.backfills import NewBackfill, read_backfills
from steeple.store.fires import read_fires
from steeple.store.schedules import ScheduleView, clock
from steeple.submission import new_id

_CHANGED = (Kind.SCHEDULE_NOT_FOUND, Kind.PRECONDITION_FAILED, *openapi.BODY_PROBLEMS)
_SCHEDULE: Final[dict[int | str, dict[str, Any]]] = {200: {**TAGGED, "links": openapi.links_of_schedule()}}

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])


@router.get(
    "/{schedule_id}/preview",
    operation_id="preview_schedule",
    summary="Preview a schedule's next fires",
    response_model=schedule_schemas.Preview,
    response_description="When it fires next, were it not paused.",
    responses=openapi.problems(Kind.SCHEDULE_NOT_FOUND),
)
async def preview_schedule(
    request: Request, caller: Reader, schedule_id: ScheduleId, query: Annotated[PreviewQuery, Query()]
) -> Response:
    """The next fires, in UTC and by the clocks of its time zone."""
    found = await find_schedule(request, schedule_id)
    now = await services_of(request).reads.run(clock)
    count = min(query.count, MOST_PREVIEWED)
    text = await asyncio.to_thread(lambda: preview_text(found.definition, preview(found, now, count)))
    return json_reply(text)


@router.post(
    "/preview",
    operation_id="preview_rule",
    summary="Preview a rule",
    response_model=schedule_schemas.Preview,
    response_description="When it would fire next.",
    responses=openapi.problems(*openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(PreviewRequest, {"cron": "30 2 1 * *", "timezone": "Europe/Berlin"}),
)
async def preview_rule(request: Request, caller: Reader, query: Annotated[NoQuery, Query()]) -> Response:
    """What a rule says, before a schedule is made of it. Nothing is kept."""
    services = services_of(request)
    text = await read_json_text(request, dict(request.scope["headers"]), services.settings.max_body_bytes)
    asked, _ = await apart(text, lambda body: read_body(body, PreviewRequest))
    definition = checked(_definition(asked))
    now = await services.reads.run(clock)
    return json_reply(preview_text(definition, preview_of_rule(definition, now, min(asked.count, MOST_PREVIEWED))))


@router.get(
    "/{schedule_id}/fires",
    operation_id="list_fires",
    summary="List a schedule's fires",
    response_model=schedule_schemas.FirePage,
    response_description="A page of fires, the latest time first.",
    responses=openapi.problems(Kind.SCHEDULE_NOT_FOUND),
)
async def list_fires(
    request: Request, caller: Reader, schedule_id: ScheduleId, query: Annotated[FireQuery, Query()]
) -> Response:
    """What became of each of its times: the job that it made, or why there is none."""
    found = await find_schedule(request, schedule_id)
    limit = min(query.limit, MOST_PAGE_FIRES)
    fires = await services_of(request).reads.run(
        lambda connection: read_fires(connection, found.id, limit=limit + 1, before=query.before)
    )
    return json_reply(fires_text(fires[:limit], fires[limit - 1].time if len(fires) > limit else None))


@router.post(
    "/{schedule_id}/pause",
    operation_id="pause_schedule",
    summary="Pause a schedule",
    response_model=schedule_schemas.Schedule,
    response_description="The schedule, paused.",
    responses={**openapi.problems(*_CHANGED), **_SCHEDULE},
    openapi_extra=openapi.body(PauseRequest, {"note": "moving house"}, required=False) | openapi.headers("If-Match"),
)
async def pause_schedule(
    request: Request, caller: Writer, schedule_id: ScheduleId, query: Annotated[NoQuery, Query()]
) -> Response:
    """It fires no more until it is resumed; the fires of the time between are not made up."""
    services = services_of(request)
    text = await read_optional_json_text(request, services.settings.max_body_bytes)
    asked, _ = await apart(text, lambda body: read_body(body, PauseRequest))

    async def act(found: ScheduleView, version: int) -> ScheduleView:
        return await services.writes.run(
            lambda connection: schedule_changes.pause(connection, found.id, asked.note, version=version)
        )

    return tagged(await while_unchanged(request, schedule_id_of(schedule_id), act))


@router.post(
    "/{schedule_id}/resume",
    operation_id="resume_schedule",
    summary="Resume a schedule",
    response_model=schedule_schemas.Schedule,
    response_description="The schedule, which fires again.",
    responses={**openapi.problems(*_CHANGED), **_SCHEDULE},
    openapi_extra=openapi.body(Nothing, {}, required=False) | openapi.headers("If-Match"),
)
async def resume_schedule(
    request: Request, caller: Writer, schedule_id: ScheduleId, query: Annotated[NoQuery, Query()]
) -> Response:
    """It fires again, from its first time after now on."""
    services = services_of(request)
    await require_no_members(request, services.settings.max_body_bytes)

    async def act(found: ScheduleView, version: int) -> ScheduleView:
        return await services.writes.run(
            lambda connection: schedule_changes.resume(connection, found.id, version=version)
        )

    return tagged(await while_unchanged(request, schedule_id_of(schedule_id), act))


@router.post(
    "/{schedule_id}/run",
    operation_id="run_schedule",
    summary="Run a schedule now",
    status_code=ACCEPTED,
    response_model=schemas.Job,
    response_description="The job.",
    responses={
        **openapi.problems(*_CHANGED, Kind.UNKNOWN_TASK, Kind.INVALID_ARGUMENTS),
        ACCEPTED: {
            "headers": openapi.reply_headers(Location="Where the job is."),
            "links": openapi.links_of_job("update_job"),
        },
    },
    openapi_extra=openapi.body(Nothing, {}, required=False) | openapi.headers("If-Match"),
)
async def run_schedule(
    request: Request, caller: Writer, schedule_id: ScheduleId, query: Annotated[NoQuery, Query()]
) -> Response:
    """Make its job now, also while it is paused or an earlier job is active. Its next fire stays when it is."""
    services = services_of(request)
    await require_no_members(request, services.settings.max_body_bytes)

    async def act(found: ScheduleView, version: int) -> Response:
        task = await services.tasks.find(found.definition.task)
        await apart(found.definition.args, task.check)
        job = job_of(found.id, found.definition, task.record)
        await services.writes.run(lambda connection: schedule_changes.run(connection, job, found.id, version=version))
        services.wakes.wake({Lane(job.queue, job.priority): 1})
        made = await find_job(request, job.id)
        return json_reply(job_text(made), ACCEPTED, {"Location": f"/v1/jobs/{job.id}"})

    return await while_unchanged(request, schedule_id_of(schedule_id), act)


@router.post(
    "/{schedule_id}/backfill",
    operation_id="backfill_schedule",
    summary="Fill back a past range",
    status_code=ACCEPTED,
    response_model=schedule_schemas.Backfill,
    response_description="The backfill; schedulers make its jobs.",
    responses=openapi.problems(*_CHANGED),
    openapi_extra=openapi.body(
        BackfillRequest, {"from": "2026-01-01T00:00:00Z", "to": "2026-11-01T00:00:00Z", "max_running": 2}
    )
    | openapi.headers("If-Match"),
)
async def backfill_schedule(
    request: Request, caller: Writer, schedule_id: ScheduleId, query: Annotated[NoQuery, Query()]
) -> Response:
    """Make the jobs of all its times in a past range, the earliest first, `max_running` of them at once.

    A time that had its job is left out; one that was skipped, missed or failed gets another chance.
    """
    services = services_of(request)
    wanted = schedule_id_of(schedule_id)
    text = await read_json_text(request, dict(request.scope["headers"]), services.settings.max_body_bytes)
    asked, _ = await apart(text, lambda body: read_body(body, BackfillRequest))
    now = await services.reads.run(clock)
    new = NewBackfill(new_id(), wanted, asked.starts_at, min(asked.ends_at, now), asked.max_running)

    async def act(found: ScheduleView, version: int) -> None:
        times = await asyncio.to_thread(schedule_changes.past_times, found, new, now)
        await services.writes.run(lambda connection: schedule_changes.backfill(connection, new, times, version=version))

    await while_unchanged(request, wanted, act)
    (made,) = await services.reads.run(lambda connection: read_backfills(connection, wanted, backfill_id=new.id))
    return json_reply(backfill_text(made), ACCEPTED)


@router.get(
    "/{schedule_id}/backfills",
    operation_id="list_backfills",
    summary="List a schedule's backfills",
    response_model=schedule_schemas.Backfills,
    response_description="The backfills, newest first.",
    responses=openapi.problems(Kind.SCHEDULE_NOT_FOUND),
)
async def list_backfills(
    request: Request, caller: Reader, schedule_id: ScheduleId, query: Annotated[NoQuery, Query()]
) -> Response:
    """How far each of them is."""
    found = await find_schedule(request, schedule_id)
    return json_reply(
        backfills_text(await services_of(request).reads.run(lambda connection: read_backfills(connection, found.id)))
    )


def _definition(asked: ScheduleOptions) -> Definition:
    """Of a rule alone."""
    fields = {name: getattr(asked, name) for name in ScheduleOptions.model_fields}
    times = None if asked.times is None else tuple(sorted(set(asked.times)))
    return Definition(
        name="", task="", args="{}", **fields | {"queue": "default", "priority": Priority.DEFAULT, "times": times}
    )

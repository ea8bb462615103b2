"""Schedules as they are kept: the list, each of them, making, changing and deleting them."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from steeple import schedule_changes
from steeple.api import openapi, schedule_schemas
from steeple.api.bodies import apart, read_json_text
from steeple.api.cursors import read_cursor, write_cursor
from steeple.api.deps import Reader, Writer
from steeple.api.examples import ARGUMENTS
from steeple.api.problem_kinds import Kind
from steeple.api.replies import json_reply
from steeple.api.requests import NoQuery
from steeple.api.schedule_intake import change_of, read_change, read_schedule, while_unchanged
from steeple.api.schedule_requests import MOST_PAGE_SCHEDULES, ScheduleChange, ScheduleQuery, ScheduleRequest
from steeple.api.schedule_texts import schedule_text, schedules_text
from steeple.api.services import services_of
from steeple.errors import ScheduleNotFound
from steeple.scheduling import define
from steeple.store.schedules import ScheduleFilter, ScheduleView, read, read_page
from steeple.submission import new_id

CREATED = 201
NO_CONTENT = 204

ScheduleId = Annotated[str, Path(json_schema_extra={"format": "uuid"}, description="The schedule's id.")]

_EXAMPLE = {"name": "monthly report", "task": "reports.render", "args": ARGUMENTS, "cron": "30 2 1 * *"}
_TASK_PROBLEMS = (Kind.UNKNOWN_TASK, Kind.INVALID_ARGUMENTS, Kind.SCHEDULE_NAME_TAKEN)
TAGGED = {"headers": openapi.reply_headers(ETag="Of this version of the schedule.")}

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])


@router.get(
    "",
    operation_id="list_schedules",
    summary="List schedules, newest first",
    response_model=schedule_schemas.SchedulePage,
    response_description="A page of schedules.",
    responses={**openapi.problems(), 200: {"links": openapi.links_of_schedule("/schedules/0/id")}},
)
async def list_schedules(request: Request, caller: Reader, query: Annotated[ScheduleQuery, Query()]) -> Response:
    """The schedules that match all filters. To go on, repeat the request with `cursor` set to `next_cursor`."""
    before = None if query.cursor is None else read_cursor(query.cursor)
    wanted = ScheduleFilter(tuple(query.name), tuple(query.task), query.paused)
    limit = min(query.limit, MOST_PAGE_SCHEDULES)
    found, after = await services_of(request).reads.run(
        lambda connection: read_page(connection, wanted, limit=limit, before=before)
    )
    return json_reply(await asyncio.to_thread(schedules_text, found, None if after is None else write_cursor(after)))


@router.post(
    "",
    operation_id="create_schedule",
    summary="Make a schedule",
    status_code=CREATED,
    response_model=schedule_schemas.Schedule,
    response_description="The schedule.",
    responses={
        **openapi.problems(*_TASK_PROBLEMS, *openapi.BODY_PROBLEMS),
        CREATED: {
            "headers": TAGGED["headers"] | openapi.reply_headers(Location="Where the schedule is."),
            "links": openapi.links_of_schedule(),
        },
    },
    openapi_extra=openapi.body(ScheduleRequest, _EXAMPLE),
)
async def create_schedule(request: Request, caller: Writer, query: Annotated[NoQuery, Query()]) -> Response:
    """Make a schedule. Its arguments are checked as those of a job are; its first fire is the first after now."""
    services = services_of(request)
    text = await read_json_text(request, dict(request.scope["headers"]), services.settings.max_body_bytes)
    asked, args = await apart(text, read_schedule)
    task = await services.tasks.find(asked.task)
    definition = define(asked.name, task.record, args, asked, limit=services.settings.max_args_bytes)
    await apart(args, task.check)
    schedule_id = new_id()
    made = await services.writes.run(
        lambda connection: schedule_changes.create(
            connection, schedule_id, definition, paused=asked.paused, note=asked.pause_note
        )
    )
    return tagged(made, CREATED, Location=f"/v1/schedules/{schedule_id}")


@router.get(
    "/{schedule_id}",
    operation_id="show_schedule",
    summary="Show a schedule",
    response_model=schedule_schemas.Schedule,
    response_description="The schedule.",
    responses={**openapi.problems(Kind.SCHEDULE_NOT_FOUND), 200: {**TAGGED, "links": openapi.links_of_schedule()}},
)
async def show_schedule(
    request: Request, caller: Reader, schedule_id: ScheduleId, query: Annotated[NoQuery, Query()]
) -> Response:
    """The schedule with its next fires and what it says in plain English."""
    return tagged(await find_schedule(request, schedule_id))


@router.patch(
    "/{schedule_id}",
    operation_id="update_schedule",
    summary="Change a schedule",
    response_model=schedule_schemas.Schedule,
    response_description="The schedule as it is now.",
    responses={
        **openapi.problems(
            Kind.SCHEDULE_NOT_FOUND,
            Kind.SCHEDULE_IS_CODE,
            Kind.PRECONDITION_FAILED,
            *_TASK_PROBLEMS,
            *openapi.BODY_PROBLEMS,
        ),
        200: {**TAGGED, "links": openapi.links_of_schedule()},
    },
    openapi_extra=openapi.body(ScheduleChange, {"cron": "0 3 1 * *"}) | openapi.headers("If-Match"),
)
async def update_schedule(
    request: Request, caller: Writer, schedule_id: ScheduleId, query: Annotated[NoQuery, Query()]
) -> Response:
    """Change what is given and leave the rest. Where that changes the times, the next fire is the first after now."""
    services = services_of(request)
    text = await read_json_text(request, dict(request.scope["headers"]), services.settings.max_body_bytes)
    asked, args = await apart(text, read_change)

    async def act(found: ScheduleView, version: int) -> ScheduleView:
        definition = await change_of(services, found.definition, asked, args)
        return await services.writes.run(
            lambda connection: schedule_changes.change(connection, found.id, lambda _: definition, version=version)
        )

    return tagged(await while_unchanged(request, schedule_id_of(schedule_id), act))


@router.delete(
    "/{schedule_id}",
    operation_id="delete_schedule",
    summary="Delete a schedule",
    status_code=NO_CONTENT,
    response_description="It is gone, with its fires and backfills; the jobs that it made stay.",
    responses=openapi.problems(Kind.SCHEDULE_NOT_FOUND, Kind.PRECONDITION_FAILED),
    openapi_extra=openapi.headers("If-Match"),
)
async def delete_schedule(
    request: Request, caller: Writer, schedule_id: ScheduleId, query: Annotated[NoQuery, Query()]
) -> Response:
    """One that is declared in code comes back when a part starts with that code."""

    async def act(found: ScheduleView, version: int) -> None:
        await services_of(request).writes.run(
            lambda connection: schedule_changes.delete(connection, found.id, version=version)
        )

    await while_unchanged(request, schedule_id_of(schedule_id), act)
    return Response(status_code=NO_CONTENT)


async def find_schedule(request: Request, schedule_id: str) -> ScheduleView:
    """Raises ``ScheduleNotFound``."""
    wanted = schedule_id_of(schedule_id)
    return await services_of(request).reads.run(lambda connection: read(connection, wanted))


def schedule_id_of(text: str) -> UUID:
    """Raises ``ScheduleNotFound`` for what is no id: no schedule has it."""
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is None or str(found) != text.lower():
        shown = text if len(text) <= 64 and text.isascii() and text.isprintable() else "of that id"
        raise ScheduleNotFound(shown)
    return found


def tagged(schedule: ScheduleView, status: int = 200, **headers: str) -> Response:
    """The schedule with its ETag."""
    told = {"ETag": f'"{schedule.version}"', "Cache-Control": "no-cache", **headers}
    return json_reply(schedule_text(schedule), status, told)

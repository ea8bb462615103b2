"""Flows: how their jobs are, and what can be done to all of them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from steeple.api import openapi, schemas
from steeple.api.bodies import require_no_members
from steeple.api.deps import Reader, Writer
from steeple.api.problem_kinds import Kind
from steeple.api.render import flow_text
from steeple.api.replies import ACCEPTED, id_in, json_reply, shown
from steeple.api.requests import FlowQuery, NoQuery, Nothing
from steeple.api.services import services_of
from steeple.errors import FlowNotFound
from steeple.store.engine import Connection
from steeple.store.flows import FlowView, Restarted, cancel_flow, read_flow, retry_flow

_MOST_JOBS = 1000

FlowId = Annotated[str, Path(json_schema_extra={"format": "uuid"}, description="The flow's id.")]

router = APIRouter(prefix="/v1/flows", tags=["flows"])


@router.get(
    "/{flow_id}",
    operation_id="show_flow",
    summary="Show a flow",
    response_model=schemas.Flow,
    response_description="The flow.",
    responses=openapi.problems(Kind.FLOW_NOT_FOUND),
)
async def show_flow(
    request: Request, caller: Reader, flow_id: FlowId, query: Annotated[FlowQuery, Query()]
) -> Response:
    """The state of a flow, how many of its jobs are in each, and its first jobs with what each waits for."""
    wanted, limit = _flow_id_of(flow_id), min(query.limit, _MOST_JOBS)
    flow = await services_of(request).reads.run(lambda connection: read_flow(connection, wanted, limit=limit))
    return json_reply(flow_text(flow))


@router.post(
    "/{flow_id}/cancel",
    operation_id="cancel_flow",
    summary="Cancel a flow",
    status_code=ACCEPTED,
    response_model=schemas.Flow,
    response_description="The flow as it is now.",
    responses=openapi.problems(Kind.FLOW_NOT_FOUND, Kind.FLOW_CONFLICT, *openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(Nothing, {}, required=False),
)
async def cancel_the_flow(
    request: Request, caller: Writer, flow_id: FlowId, query: Annotated[NoQuery, Query()]
) -> Response:
    """Its pending jobs are cancelled at once. Those that run are told to stop, and made to if they do not."""
    wanted = _flow_id_of(flow_id)
    services = services_of(request)
    await require_no_members(request, services.settings.max_body_bytes)

    def cancel(connection: Connection) -> FlowView:
        cancel_flow(connection, wanted)
        return read_flow(connection, wanted, limit=_MOST_JOBS)

    return json_reply(flow_text(await services.writes.run(cancel)), ACCEPTED)


@router.post(
    "/{flow_id}/retry",
    operation_id="retry_flow",
    summary="Start a flow anew from where it failed",
    status_code=ACCEPTED,
    response_model=schemas.Flow,
    response_description="The flow as it is now.",
    responses=openapi.problems(Kind.FLOW_NOT_FOUND, Kind.FLOW_CONFLICT, Kind.UNIQUE_KEY_HELD, *openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(Nothing, {}, required=False),
)
async def retry_the_flow(
    request: Request, caller: Writer, flow_id: FlowId, query: Annotated[NoQuery, Query()]
) -> Response:
    """What failed or was cancelled runs once more, each job when those have ended that it waits for."""
    wanted = _flow_id_of(flow_id)
    services = services_of(request)
    await require_no_members(request, services.settings.max_body_bytes)

    def retry(connection: Connection) -> tuple[Restarted, FlowView]:
        restarted = retry_flow(connection, wanted)
        return restarted, read_flow(connection, wanted, limit=_MOST_JOBS)

    restarted, flow = await services.writes.run(retry)
    if restarted.due:
        services.wakes.wake(restarted.due)
    await services.inbox.confirm(restarted.unconfirmed)
    return json_reply(flow_text(flow), ACCEPTED)


def _flow_id_of(text: str) -> UUID:
    """Raises ``FlowNotFound`` for what is no id: no flow has it."""
    found = id_in(text)
    if found is None:
        raise FlowNotFound(shown(text))
    return found

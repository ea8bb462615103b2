"""Operations: one action on every job that matches a filter, and how far it has come."""

import json
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from steeple.api import openapi, operation_schemas
from steeple.api.bodies import apart, read_json_text, require_no_members
from steeple.api.cursors import read_cursor, write_cursor
from steeple.api.deps import Reader, Writer
from steeple.api.intake import request_key
from steeple.api.keyring import Caller, require_scope
from steeple.api.operation_requests import AskedOperation, OperationQuery, OperationRequest, read_asked
from steeple.api.problem_kinds import Kind
from steeple.api.render import job_text, time_text
from steeple.api.replies import ACCEPTED, json_reply
from steeple.api.requests import MOST_PAGE_JOBS, NoQuery, Nothing
from steeple.api.services import Services, services_of
from steeple.domain.operation import Action
from steeple.errors import OperationNotFound
from steeple.store import operations
from steeple.store.job_filters import preview
from steeple.store.keys import Scope
from steeple.store.operations import NewOperation, OperationView
from steeple.submission import new_id

_EXAMPLE = {"action": "cancel", "filter": {"task": "reports.render", "state": ["PENDING"]}}

OperationId = Annotated[str, Path(json_schema_extra={"format": "uuid"}, description="The operation's id.")]

router = APIRouter(prefix="/v1/operations", tags=["operations"])


@router.post(
    "",
    operation_id="make_operation",
    summary="Act on every job that matches a filter",
    status_code=ACCEPTED,
    response_model=operation_schemas.Operation,
    response_description="The operation, which goes on by itself.",
    responses={
        **openapi.problems(*openapi.BODY_PROBLEMS, Kind.IDEMPOTENCY_KEY_REUSED),
        200: {"model": operation_schemas.OperationPreview, "description": "With `dry_run`: what it would cover."},
        ACCEPTED: {
            "headers": openapi.reply_headers(
                Location="Where the operation is.",
                Idempotent_Replayed="`true` if an earlier request with the same key made this.",
            ),
            "links": openapi.links_of_operation(),
        },
    },
    openapi_extra=openapi.body(OperationRequest, _EXAMPLE) | openapi.headers("Idempotency-Key"),
)
async def make_operation(request: Request, caller: Writer, query: Annotated[NoQuery, Query()]) -> Response:
    """Cancel, retry, delete, reprioritise or move the jobs that match now; those that come later are not covered.

    An empty filter needs `all`. To delete, a key needs the scope `admin`. Jobs that the action does not fit are
    skipped.
    """
    services = services_of(request)
    headers = dict(request.scope["headers"])
    text = await read_json_text(request, headers, services.settings.max_body_bytes)
    asked = await apart(text, read_asked)
    if asked.is_dry_run:
        return await _previewed(services, asked)
    _require_may(caller, asked)
    key = await apart(text, lambda body: request_key(headers, caller, body))
    new = NewOperation(new_id(), asked.order, asked.wanted, None if key is None else key.single())
    made = await services.writes.run(lambda connection: operations.make_operation(connection, new))
    replayed = {"Idempotent-Replayed": "true"} if made.is_replay else {}
    told = {"Location": f"/v1/operations/{made.operation.id}", **replayed}
    return json_reply(_operation_text(made.operation), ACCEPTED, told)


@router.get(
    "",
    operation_id="list_operations",
    summary="List operations, newest first",
    response_model=operation_schemas.OperationPage,
    response_description="A page of operations.",
    responses={**openapi.problems(), 200: {"links": openapi.links_of_operation(at="/operations/0/id")}},
)
async def list_operations(request: Request, caller: Reader, query: Annotated[OperationQuery, Query()]) -> Response:
    """Those that go on, and those that have ended until their retention has passed, which is that of jobs."""
    limit = min(query.limit, MOST_PAGE_JOBS)
    before = None if query.cursor is None else read_cursor(query.cursor)
    states = tuple(query.state)
    found = await services_of(request).reads.run(
        lambda connection: operations.read_operations(connection, limit=limit + 1, before=before, states=states)
    )
    page = found[:limit]
    following = write_cursor(page[-1].id) if len(found) > limit else None
    texts = ",".join(map(_operation_text, page))
    return json_reply(f'{{"operations":[{texts}],"next_cursor":{json.dumps(following)}}}')


@router.get(
    "/{operation_id}",
    operation_id="show_operation",
    summary="Show an operation",
    response_model=operation_schemas.Operation,
    response_description="The operation.",
    responses={**openapi.problems(Kind.OPERATION_NOT_FOUND), 200: {"links": openapi.links_of_operation()}},
)
async def show_operation(
    request: Request, caller: Reader, operation_id: OperationId, query: Annotated[NoQuery, Query()]
) -> Response:
    """How far it has come: the jobs that were done, and those that were skipped, with the reasons."""
    wanted = _id_of(operation_id)
    found = await services_of(request).reads.run(lambda connection: operations.read_operation(connection, wanted))
    return json_reply(_operation_text(found))


@router.post(
    "/{operation_id}/abort",
    operation_id="abort_operation",
    summary="Abort an operation",
    status_code=ACCEPTED,
    response_model=operation_schemas.Operation,
    response_description="The operation, aborted.",
    responses={
        **openapi.problems(Kind.OPERATION_NOT_FOUND, Kind.STATE_CONFLICT, *openapi.BODY_PROBLEMS),
        ACCEPTED: {"links": openapi.links_of_operation()},
    },
    openapi_extra=openapi.body(Nothing, {}, required=False),
)
async def abort_operation(
    request: Request, caller: Writer, operation_id: OperationId, query: Annotated[NoQuery, Query()]
) -> Response:
    """From now on it acts on no job. What it has done stays done. One that is aborted already stays as it is."""
    wanted = _id_of(operation_id)
    services = services_of(request)
    await require_no_members(request, services.settings.max_body_bytes)
    found = await services.writes.run(lambda connection: operations.abort_operation(connection, wanted))
    return json_reply(_operation_text(found), ACCEPTED)


async def _previewed(services: Services, asked: AskedOperation) -> Response:
    found = await services.writes.run(lambda connection: preview(connection, asked.wanted))
    sample = ",".join(map(job_text, found.sample))
    return json_reply(f'{{"count":{found.count},"is_exact":{json.dumps(found.is_exact)},"sample":[{sample}]}}')


def _require_may(caller: Caller, asked: AskedOperation) -> None:
    """What is deleted cannot be had back."""
    if asked.order.action is Action.DELETE:
        require_scope(caller, Scope.ADMIN)


def _id_of(text: str) -> UUID:
    """Raises ``OperationNotFound`` for what is no id: no operation has it."""
    try:
        found = UUID(text)
    except ValueError:
        raise OperationNotFound("of that id") from None
    if str(found) != text.lower():
        raise OperationNotFound("of that id")
    return found


def _operation_text(operation: OperationView) -> str:
    moments = {
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
    }
    return json.dumps(
        {
            "id": str(operation.id),
            "action": operation.action.value,
            "filter": json.loads(operation.filter),
            "set": None if operation.changes is None else json.loads(operation.changes),
            "state": operation.state.value,
            "done": operation.done,
            "skipped": operation.skipped,
            "total": operation.total,
            "reasons": json.loads(operation.skips),
            **{name: None if moment is None else time_text(moment) for name, moment in moments.items()},
        }
    )

"""The OpenAPI document: what FastAPI cannot know, as the bodies are read and the problems written by hand."""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from steeple.api import examples, operation_schemas, rule_schemas, schedule_requests, schedule_schemas, schemas
from steeple.api.operation_requests import OperationRequest
from steeple.api.problem_kinds import Kind
from steeple.api.problems import MEDIA_TYPE, Fault, Problem
from steeple.api.requests import (
    BatchRequest,
    JobChange,
    LimitRequest,
    Nothing,
    QueueChange,
    QueuePause,
    QueuePurge,
    SubmitRequest,
    WeightRequest,
)

BODY_PROBLEMS: Final = (Kind.NOT_JSON, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.INVALID_REQUEST)
"""Of every operation that reads a body."""

_EVERYWHERE: Final = (
    Kind.METHOD_NOT_ALLOWED,
    Kind.INVALID_REQUEST,
    Kind.HEADERS_TOO_LARGE,
    Kind.INTERNAL_ERROR,
    Kind.UNAVAILABLE,
)
_GUARDED: Final = (Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.CROSS_SITE, Kind.MISDIRECTED)
_REFERENCE: Final = "#/components/schemas/{model}"
_REQUESTS: Final[Sequence[type[BaseModel]]] = (
    SubmitRequest,
    BatchRequest,
    JobChange,
    OperationRequest,
    Nothing,
    QueuePause,
    QueuePurge,
    QueueChange,
    LimitRequest,
    WeightRequest,
    *schedule_requests.BODIES,
)
_REPLIES: Final[Sequence[type[BaseModel]]] = (
    schemas.Job,
    schemas.JobPage,
    schemas.Batch,
    schemas.Flow,
    schemas.Attempts,
    schemas.Logs,
    operation_schemas.Operation,
    operation_schemas.OperationPage,
    operation_schemas.OperationPreview,
    schemas.Tasks,
    schemas.Queues,
    schemas.Queue,
    schemas.Purge,
    rule_schemas.Why,
    rule_schemas.Limits,
    rule_schemas.Weights,
    schemas.Workers,
    schemas.Live,
    schemas.Ready,
    schemas.Problem,
    *schedule_schemas.REPLIES,
)
"""FastAPI describes them too, but leaves nulls out of their examples."""

_DESCRIPTION: Final = """
Submit jobs, and see what becomes of them. A job that was answered 202 is stored: it is never lost, and runs at least
once.

Times are RFC 3339 in UTC, durations are seconds. Input that is not known is refused; clients ignore members of replies
that they do not know. Every refusal is a problem document (RFC 9457) with a `request_id` that is also the header
`X-Request-ID`.
"""

_TAGS: Final = [
    {"name": "jobs", "description": "Requests to run a task."},
    {"name": "schedules", "description": "When jobs are made by themselves."},
    {"name": "operations", "description": "One action on every job that matches a filter."},
    {"name": "flows", "description": "Jobs that were submitted as one."},
    {"name": "tasks", "description": "What can be run."},
    {"name": "queues", "description": "Where jobs wait."},
    {"name": "limits", "description": "How many jobs may run or start, and who goes next."},
    {"name": "workers", "description": "Who runs them."},
    {"name": "health", "description": "For load balancers and monitoring."},
]

_HEADERS: Final[dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "The same key with the same body gives the same job or operation again, with "
        "`Idempotent-Replayed: true`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    },
    "Prefer": {
        "description": "`wait=N`: answer when the job ends, or after N seconds; 60 at the most. One that cannot be "
        "read is ignored, as RFC 7240 has it; `Preference-Applied` tells that it was heeded.",
        "schema": {"type": "string"},
        "example": "wait=10",
    },
    "If-Match": {
        "description": "The `ETag` of the version that the client has: if it no longer is that, the answer is 412.",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "description": "The `ETag` of the version that the client has: if it still is that, the answer is 304.",
        "schema": {"type": "string"},
    },
}


def problems(*kinds: Kind, guarded: bool = True) -> dict[int | str, dict[str, Any]]:
    """``responses`` of an operation that can be refused in these ways, besides those of every operation."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in dict.fromkeys((*kinds, *(_GUARDED if guarded else ()), *_EVERYWHERE)):
        reply = found.setdefault(kind.status, _problem_reply())
        reply["description"] = "; ".join(filter(None, (reply["description"], kind.title)))
        reply["content"][MEDIA_TYPE]["examples"][kind.slug] = {"summary": kind.title, "value": _example(kind)}
        if kind.status in (429, 503):
            reply["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
        if kind is Kind.METHOD_NOT_ALLOWED:
            reply["headers"] = reply_headers(Allow="The methods that this path knows.")
    return found


def body(model: type[BaseModel], example: object, *, required: bool = True) -> dict[str, Any]:
    """``openapi_extra`` of an operation that reads a body."""
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": required, "content": content}}


def links_of_job(*more: str, at: str = "/id") -> dict[str, Any]:
    """``links`` of a reply that names a job ``at`` this place: operations on it, by their ids."""
    names = ("show_job", "list_attempts", "list_logs", "cancel_job", "retry_job", *more)
    return {name: {"operationId": name, "parameters": {"job_id": f"$response.body#{at}"}} for name in names}


def links_of_schedule(at: str = "/id") -> dict[str, Any]:
    """``links`` of a reply that names a schedule ``at`` this place."""
    names = ("show_schedule", "list_fires", "pause_schedule", "run_schedule", "delete_schedule")
    return {name: {"operationId": name, "parameters": {"schedule_id": f"$response.body#{at}"}} for name in names}


def links_of_operation(at: str = "/id") -> dict[str, Any]:
    """``links`` of a reply that names an operation ``at`` this place."""
    names = ("show_operation", "abort_operation")
    return {name: {"operationId": name, "parameters": {"operation_id": f"$response.body#{at}"}} for name in names}


def headers(*names: str) -> dict[str, Any]:
    """``openapi_extra`` of an operation that looks at request headers."""
    return {"parameters": [{"name": name, "in": "header", "required": False, **_HEADERS[name]} for name in names]}


def reply_headers(**described: str) -> dict[str, Any]:
    """``headers`` of a reply; names with ``_`` for ``-``."""
    return {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}} for name, text in described.items()
    }


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of ``app``, made once."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version=app.openapi_version,
            summary="Steeple's HTTP API.",
            description=_DESCRIPTION.strip(),
            routes=app.routes,
            tags=_TAGS,
        )
        found["components"]["schemas"].update(_definitions())
        app.openapi_schema = found
    return app.openapi_schema


def _definitions() -> dict[str, Any]:
    _, requests = models_json_schema([(model, "validation") for model in _REQUESTS], ref_template=_REFERENCE)
    _, replies = models_json_schema([(model, "serialization") for model in _REPLIES], ref_template=_REFERENCE)
    return {**requests["$defs"], **replies["$defs"]}


def _problem_reply() -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model=schemas.Problem.__name__)}
    return {"description": "", "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}}}


def _example(kind: Kind) -> dict[str, Any]:
    return Problem(kind, *_EXAMPLES.get(kind, (kind.title,))).document("019ab4c3-0000-7000-8000-000000000000")


_EXAMPLES: Final[dict[Kind, tuple[str, tuple[Fault, ...], dict[str, Any]]]] = {
    Kind.NOT_JSON: ("Expecting value: line 1 column 9 (char 8)", (), {}),
    Kind.INVALID_REQUEST: ("/queue: is no queue's name", (Fault("/queue", "is no queue's name"),), {}),
    Kind.INVALID_ARGUMENTS: ("/args/month: Field required", (Fault("/args/month", "Field required"),), {}),
    Kind.STATE_CONFLICT: (
        f"job {examples.JOB['id']} is SUCCESS: cannot cancel",
        (),
        {"job_id": examples.JOB["id"], "state": "SUCCESS"},
    ),
    Kind.FLOW_CONFLICT: (
        f"flow {examples.FLOW['id']} is SUCCESS: nothing to retry",
        (),
        {"flow_id": examples.FLOW["id"], "state": "SUCCESS"},
    ),
    Kind.UNIQUE_KEY_HELD: (
        f"unique key 'report:2026-10' is held by job {examples.JOB['id']}",
        (Fault("/unique_key", "is held"),),
        {"job_id": examples.JOB["id"]},
    ),
}

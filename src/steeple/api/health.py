"""For load balancers and monitoring: alive, ready, metrics."""

import asyncio
import json

from fastapi import APIRouter, Request, Response

from steeple.api import openapi, schemas
from steeple.api.deps import Reader
from steeple.api.problem_kinds import Kind
from steeple.api.problems import refusal
from steeple.api.replies import json_reply
from steeple.api.services import services_of
from steeple.store.engine import is_unavailable
from steeple.store.metrics import read_metrics
from steeple.telemetry.metrics import CONTENT_TYPE, render

router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    operation_id="check_alive",
    summary="Whether the process answers",
    response_model=schemas.Live,
    response_description="It does.",
    responses=openapi.problems(guarded=False),
)
async def check_alive() -> Response:
    """Depends on nothing else: a process that fails this should be restarted."""
    return json_reply(json.dumps({"status": "alive"}))


@router.get(
    "/readyz",
    operation_id="check_ready",
    summary="Whether requests can be served",
    response_model=schemas.Ready,
    response_description="They can.",
    responses=openapi.problems(guarded=False),
)
async def check_ready(request: Request) -> Response:
    """Needs the database with its schema. The broker is reported, and not needed: jobs are accepted without it."""
    services = services_of(request)
    schema, broker = await asyncio.gather(_schema(request), services.readiness.broker())
    return json_reply(json.dumps({"status": "ready", "database": "ok", "schema": schema, "broker": broker}))


async def _schema(request: Request) -> str:
    """The schema's revision. Raises ``Refusal`` if it is older than this version of Steeple needs."""
    try:
        status = await services_of(request).readiness.schema()
    except Exception as error:
        if is_unavailable(error):
            raise refusal(Kind.UNAVAILABLE, "the database does not answer", database="unreachable") from error
        raise
    if status.current is None or status.is_behind:
        found = status.current or "missing"
        detail = f"the schema is {found}, {status.head} is needed: run `steeple db upgrade`"
        raise refusal(Kind.UNAVAILABLE, detail, database="ok", schema=status.current)
    return status.current


@router.get(
    "/metrics",
    operation_id="read_metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    response_description="In Prometheus' text format.",
    responses={**openapi.problems(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def show_metrics(request: Request, caller: Reader) -> Response:
    """Jobs per state, queue and task, waits, run times, and counts of rare events."""
    services = services_of(request)
    dead_after = services.settings.worker_dead_after
    snapshot = await services.reads.run(lambda connection: read_metrics(connection, dead_after))
    return Response(render(snapshot), media_type=CONTENT_TYPE)

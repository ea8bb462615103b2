"""Why a job is where it is."""

import json
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from steeple.api import openapi, rule_schemas
from steeple.api.deps import Reader
from steeple.api.jobs import JobId
from steeple.api.problem_kinds import Kind
from steeple.api.render import time_text
from steeple.api.replies import job_id_of, json_reply
from steeple.api.requests import NoQuery
from steeple.api.services import services_of
from steeple.domain.states import State
from steeple.domain.why import Reason, reasons
from steeple.store.why import read_facts

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_UNREACHABLE = Reason(
    "broker_unreachable", "the broker does not answer: slots are not woken, and only those at work look for jobs"
)


@router.get(
    "/{job_id}/why",
    operation_id="explain_job",
    summary="Explain why a job does not run, or where it does",
    response_model=rule_schemas.Why,
    response_description="The reasons, in the order in which they would have to go.",
    responses=openapi.problems(Kind.JOB_NOT_FOUND),
)
async def explain_job(request: Request, caller: Reader, job_id: JobId, query: Annotated[NoQuery, Query()]) -> Response:
    """Of a pending job what keeps it from starting; of a running one where it runs, and how well its worker is."""
    wanted, services = job_id_of(job_id), services_of(request)
    alive = services.settings.worker_dead_after
    facts = await services.reads.run(lambda connection: read_facts(connection, wanted, alive))
    found = reasons(facts)
    if facts.state is State.PENDING and await services.readiness.broker() == "unreachable":
        found.append(_UNREACHABLE)
    return json_reply(json.dumps({"reasons": [_shown(reason) for reason in found]}, ensure_ascii=False))


def _shown(reason: Reason) -> dict[str, object]:
    facts = {name: time_text(value) if isinstance(value, datetime) else value for name, value in reason.facts.items()}
    return {"code": reason.code, "text": reason.text, **facts}

"""Submitting jobs, one or many."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from types import MappingProxyType
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from steeple.api import openapi, schemas
from steeple.api.bodies import apart, read_json_text
from steeple.api.deps import Writer
from steeple.api.direct import DirectReply, DirectRoute
from steeple.api.examples import ARGUMENTS
from steeple.api.intake import Refused, read_batch, read_submit, request_key
from steeple.api.problem_kinds import Kind
from steeple.api.problems import Fault, Problem, Refusal, problem_of
from steeple.api.render import job_text, new_job_text
from steeple.api.replies import ACCEPTED, awaited, find_job, json_reply, wait_headers
from steeple.api.requests import BatchQuery, BatchRequest, SubmitRequest
from steeple.api.services import services_of
from steeple.api.waiting import preferred_wait
from steeple.domain.job import NewJob
from steeple.domain.priority import Lane
from steeple.errors import UniqueKeyHeld
from steeple.store.inbox import Accepted, Answer

_PROBLEMS = (
    *openapi.BODY_PROBLEMS,
    Kind.UNKNOWN_TASK,
    Kind.INVALID_ARGUMENTS,
    Kind.IDEMPOTENCY_KEY_REUSED,
    Kind.UNIQUE_KEY_HELD,
)
_EXAMPLE = {"task": "reports.render", "args": ARGUMENTS, "priority": "high", "tags": ["nightly"]}
_REPLAYED = {"Idempotent-Replayed": "true"}
_NOWHERE: Final[Mapping[str, int]] = MappingProxyType({})
_DESCRIBED = openapi.reply_headers(Idempotent_Replayed="`true` if an earlier request with the same key made this.")

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


async def submit_job(request: Request, caller: Writer) -> DirectReply:
    """Submit a job. Once this has answered 202 it is stored, and will run."""
    services = services_of(request)
    headers = dict(request.scope["headers"])
    text = await read_json_text(request, headers, services.settings.max_body_bytes)
    asked = await apart(text, read_submit)
    key = await apart(text, lambda body: request_key(headers, caller, body))
    job = await services.intake.job(asked, None if key is None else key.single())
    if job.run_at is None and job.delay is None:
        services.wakes.expect(Lane(job.queue, job.priority))
    accepted = await services.inbox.put(job)
    seconds = preferred_wait(headers)
    if accepted.is_replay or seconds is not None:
        view = await find_job(request, accepted.id)
        text = job_text(await awaited(request, view, seconds or 0.0))
    else:
        text = new_job_text(job, accepted)
    told = {"Location": f"/v1/jobs/{accepted.id}", **wait_headers(seconds), **(_REPLAYED if accepted.is_replay else {})}
    return DirectReply(text, ACCEPTED, told)


router.routes.append(
    DirectRoute(
        "/v1/jobs",
        submit_job,
        methods=["POST"],
        tags=["jobs"],
        operation_id="submit_job",
        summary="Submit a job",
        status_code=ACCEPTED,
        response_model=schemas.Job,
        response_description="The job.",
        responses={
            **openapi.problems(*_PROBLEMS),
            ACCEPTED: {
                "headers": _DESCRIBED
                | openapi.reply_headers(Location="Where the job is.", Preference_Applied="The wait that was heeded."),
                "links": openapi.links_of_job("update_job"),
            },
        },
        openapi_extra=openapi.body(SubmitRequest, _EXAMPLE) | openapi.headers("Idempotency-Key", "Prefer"),
    )
)


@router.post(
    "/batch",
    operation_id="submit_batch",
    summary="Submit up to 10,000 jobs",
    status_code=ACCEPTED,
    response_model=schemas.Batch,
    response_description="What became of each job, in the order of the request.",
    responses={
        **openapi.problems(*_PROBLEMS),
        ACCEPTED: {"headers": _DESCRIBED, "links": openapi.links_of_job("update_job", at="/jobs/0/id")},
    },
    openapi_extra=openapi.body(BatchRequest, {"jobs": [_EXAMPLE]}) | openapi.headers("Idempotency-Key"),
)
async def submit_batch(request: Request, caller: Writer, query: Annotated[BatchQuery, Query()]) -> Response:
    """Submit jobs in one transaction: all of them or, if one is refused, none. With `partial` those that can be."""
    services = services_of(request)
    headers = dict(request.scope["headers"])
    text = await read_json_text(request, headers, services.settings.max_body_bytes)
    asked = await apart(text, read_batch)
    key = await apart(text, lambda body: request_key(headers, caller, body))
    found = await services.intake.jobs(asked, repeat(None) if key is None else key.of_each())
    _require_all(found, query)
    jobs = [each for each in found if isinstance(each, NewJob)]
    stored = iter(await services.inbox.put_batch(jobs, partial=query.partial))
    answers = [next(stored) if isinstance(each, NewJob) else each for each in found]
    _require_all(answers, query, {str(job.id): number for number, job in enumerate(found) if isinstance(job, NewJob)})
    items = [_item(number, answer) for number, answer in enumerate(answers)]
    is_replay = any(isinstance(answer, Accepted) and answer.is_replay for answer in answers)
    return json_reply(json.dumps({"jobs": items}), ACCEPTED, _REPLAYED if is_replay else {})


def _require_all(
    found: Sequence[NewJob | Answer | Refused], query: BatchQuery, places: Mapping[str, int] = _NOWHERE
) -> None:
    """Raises ``Refusal`` if one was refused that may not be. ``places``: which job of the request has an id."""
    refused = [
        _problem(number, each, places) for number, each in enumerate(found) if not isinstance(each, NewJob | Accepted)
    ]
    if refused and not query.partial:
        raise Refusal(_of_all(refused))


def _of_all(refused: Sequence[Problem]) -> Problem:
    kinds = {problem.kind for problem in refused}
    how_many = "1 job is" if len(refused) == 1 else f"{len(refused)} jobs are"
    detail = f"{how_many} refused, so none was stored; the first: {refused[0].detail}"
    faults = tuple(fault for problem in refused for fault in problem.faults)
    return Problem(kinds.pop() if len(kinds) == 1 else Kind.INVALID_REQUEST, detail, faults)


def _item(number: int, answer: Accepted | Refused) -> dict[str, object]:
    if isinstance(answer, Accepted):
        return {"id": str(answer.id)}
    return {"error": _problem(number, answer).document()}


def _problem(number: int, refused: Refused, places: Mapping[str, int] = _NOWHERE) -> Problem:
    """The problem with the job of that number, whose places are those in the whole request."""
    if isinstance(refused, UniqueKeyHeld) and refused.job_id in places:
        problem = _held_within(refused.unique_key, places[refused.job_id])
    else:
        problem = _known_problem(refused)
    at = f"/jobs/{number}"
    faults = tuple(
        fault if fault.within else replace(fault, pointer=at + fault.pointer) for fault in problem.faults
    ) or (Fault(at, problem.detail),)
    return replace(problem, faults=faults)


def _known_problem(refused: Refused) -> Problem:
    problem = problem_of(refused)
    assert problem is not None
    return problem


def _held_within(unique_key: str, place: int) -> Problem:
    """By its place: a job that was not stored after all has no id."""
    detail = f"unique key {unique_key!r} is also that of job {place} in this request"
    return Problem(Kind.UNIQUE_KEY_HELD, detail, (Fault("/unique_key", detail),))

"""What can be done to a job: cancel it, run it once more, change it while it waits."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from steeple.api import openapi, schemas
from steeple.api.bodies import apart, read_json_text, read_object, require_no_members
from steeple.api.deps import Writer
from steeple.api.jobs import JobId
from steeple.api.problem_kinds import Kind
from steeple.api.render import job_text
from steeple.api.replies import ACCEPTED, job_id_of, json_reply
from steeple.api.requests import JobChange, NoQuery, Nothing
from steeple.api.services import services_of
from steeple.errors import JobNotFound
from steeple.store import transitions
from steeple.store.engine import Connection
from steeple.store.reads import JobView, read_job
from steeple.store.transitions import Edit

T = TypeVar("T")

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "/{job_id}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    status_code=ACCEPTED,
    response_model=schemas.Job,
    response_description="The job: cancelled if it was pending; if it runs, with `cancel_requested_at`.",
    responses={
        **openapi.problems(Kind.JOB_NOT_FOUND, Kind.STATE_CONFLICT, *openapi.BODY_PROBLEMS),
        ACCEPTED: {"links": openapi.links_of_job("update_job")},
    },
    openapi_extra=openapi.body(Nothing, {}, required=False),
)
async def cancel_job(request: Request, caller: Writer, job_id: JobId, query: Annotated[NoQuery, Query()]) -> Response:
    """A pending job is cancelled at once. A running one is told to stop, and made to if it does not."""
    wanted = job_id_of(job_id)
    services = services_of(request)
    await require_no_members(request, services.settings.max_body_bytes)
    _, job = await services.writes.run(_and_as_it_is(wanted, lambda connection: transitions.cancel(connection, wanted)))
    return json_reply(job_text(job), ACCEPTED)


@router.post(
    "/{job_id}/retry",
    operation_id="retry_job",
    summary="Run a job once more",
    status_code=ACCEPTED,
    response_model=schemas.Job,
    response_description="The job, pending again.",
    responses={
        **openapi.problems(Kind.JOB_NOT_FOUND, Kind.STATE_CONFLICT, Kind.UNIQUE_KEY_HELD, *openapi.BODY_PROBLEMS),
        ACCEPTED: {"links": openapi.links_of_job()},
    },
    openapi_extra=openapi.body(Nothing, {}, required=False),
)
async def retry_job(request: Request, caller: Writer, job_id: JobId, query: Annotated[NoQuery, Query()]) -> Response:
    """A job that has ended, however it did, becomes pending with all its attempts before it, whatever its parents do.

    One that is held since a parent of it failed runs all the same.
    """
    wanted = job_id_of(job_id)
    services = services_of(request)
    await require_no_members(request, services.settings.max_body_bytes)
    lane, job = await services.writes.run(_and_as_it_is(wanted, transitions.retry_once(wanted)))
    services.wakes.wake({lane: 1})
    return json_reply(job_text(job), ACCEPTED)


@router.patch(
    "/{job_id}",
    operation_id="update_job",
    summary="Change a pending job",
    response_model=schemas.Job,
    response_description="The job as it is now.",
    responses={
        **openapi.problems(Kind.JOB_NOT_FOUND, Kind.STATE_CONFLICT, *openapi.BODY_PROBLEMS),
        200: {"links": openapi.links_of_job()},
    },
    openapi_extra=openapi.body(JobChange, {"priority": "high"}),
)
async def update_job(request: Request, caller: Writer, job_id: JobId, query: Annotated[NoQuery, Query()]) -> Response:
    """Change priority, queue, time or number of attempts of a job that waits."""
    wanted = job_id_of(job_id)
    services = services_of(request)
    text = await read_json_text(request, dict(request.scope["headers"]), services.settings.max_body_bytes)
    change = await apart(text, _read_change)
    lane, job = await services.writes.run(
        _and_as_it_is(wanted, lambda connection: transitions.edit(connection, wanted, change))
    )
    if job.run_at <= datetime.now(UTC):
        services.wakes.wake({lane: 1})
    return json_reply(job_text(job))


def _and_as_it_is(job_id: UUID, change: Callable[[Connection], T]) -> Callable[[Connection], tuple[T, JobView]]:
    """The change, and the job as it left it: by the time of the reply it may be far beyond that."""

    def work(connection: Connection) -> tuple[T, JobView]:
        changed = change(connection)
        job = read_job(connection, job_id)
        if job is None:
            raise JobNotFound(str(job_id))
        return changed, job

    return work


def _read_change(text: str) -> Edit:
    change = read_object(text, JobChange)
    return Edit(change.priority, change.queue, change.run_at, change.max_attempts)

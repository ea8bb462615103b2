"""Jobs as they are: the list, and each of them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from steeple.api import openapi, schemas
from steeple.api.cursors import read_cursor, write_cursor
from steeple.api.deps import Reader
from steeple.api.problem_kinds import Kind
from steeple.api.render import attempts_text, logs_text, page_text
from steeple.api.replies import awaited, find_job, job_id_of, json_reply, preferred, tagged_reply, wait_headers
from steeple.api.requests import MOST_PAGE_JOBS, JobQuery, LogQuery, NoQuery, WaitQuery
from steeple.api.services import services_of
from steeple.store.listing import JobFilter, read_page
from steeple.store.reads import read_attempts, require_job
from steeple.store.reports import read_lines

_MOST_LINES = 1000

JobId = Annotated[str, Path(json_schema_extra={"format": "uuid"}, description="The job's id.")]

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get(
    "",
    operation_id="list_jobs",
    summary="List jobs, newest first",
    response_model=schemas.JobPage,
    response_description="A page of jobs.",
    responses={**openapi.problems(), 200: {"links": openapi.links_of_job("update_job", at="/jobs/0/id")}},
)
async def list_jobs(request: Request, caller: Reader, query: Annotated[JobQuery, Query()]) -> Response:
    """The jobs that match all filters. To go on, repeat the request with `cursor` set to `next_cursor`.

    A search that takes too long stops early: such a page has fewer jobs than `limit`, and a `next_cursor`.
    """
    limit = min(query.limit, MOST_PAGE_JOBS)
    before = None if query.cursor is None else read_cursor(query.cursor)
    wanted = _filter(query)
    page = await services_of(request).reads.run(
        lambda connection: read_page(connection, wanted, limit=limit, before=before)
    )
    return json_reply(page_text(page.jobs, None if page.next_before is None else write_cursor(page.next_before)))


@router.get(
    "/{job_id}",
    operation_id="show_job",
    summary="Show a job",
    response_model=schemas.Job,
    response_description="The job.",
    responses={
        **openapi.problems(Kind.JOB_NOT_FOUND),
        200: {
            "headers": openapi.reply_headers(ETag="Of this version of the job."),
            "links": openapi.links_of_job("update_job"),
        },
        304: {"description": "The job is as the client has it.", "headers": openapi.reply_headers(ETag="The same.")},
    },
    openapi_extra=openapi.headers("If-None-Match", "Prefer"),
)
async def show_job(request: Request, caller: Reader, job_id: JobId, query: Annotated[WaitQuery, Query()]) -> Response:
    """The job as it is now, or with `wait` as soon as it has ended."""
    job = await find_job(request, job_id_of(job_id))
    preference = preferred(request) if query.wait is None else None
    job = await awaited(request, job, query.wait or preference or 0.0)
    return tagged_reply(request, job, wait_headers(preference))


@router.get(
    "/{job_id}/attempts",
    operation_id="list_attempts",
    summary="List a job's attempts",
    response_model=schemas.Attempts,
    response_description="The attempts, oldest first.",
    responses=openapi.problems(Kind.JOB_NOT_FOUND),
)
async def list_attempts(
    request: Request, caller: Reader, job_id: JobId, query: Annotated[NoQuery, Query()]
) -> Response:
    """Every attempt that failed or was cut short, and the one that runs or succeeded, with worker, times and error."""
    wanted = job_id_of(job_id)
    attempts = await services_of(request).reads.run(lambda connection: read_attempts(connection, wanted))
    return json_reply(attempts_text(attempts))


@router.get(
    "/{job_id}/logs",
    operation_id="list_logs",
    summary="List a job's log lines",
    response_model=schemas.Logs,
    response_description="The lines, oldest first.",
    responses=openapi.problems(Kind.JOB_NOT_FOUND),
)
async def list_logs(request: Request, caller: Reader, job_id: JobId, query: Annotated[LogQuery, Query()]) -> Response:
    """What the task wrote with `context.log`, in all attempts. To go on, set `after` to the last line's `id`."""
    wanted = job_id_of(job_id)
    reads = services_of(request).reads
    await reads.run(lambda connection: require_job(connection, wanted))
    lines = await reads.run(
        lambda connection: read_lines(connection, wanted, after=query.after, limit=min(query.limit, _MOST_LINES))
    )
    return json_reply(logs_text(lines))


def _filter(query: JobQuery) -> JobFilter:
    return JobFilter(
        states=tuple(query.state),
        tasks=tuple(query.task),
        queues=tuple(query.queue),
        priorities=tuple(query.priority),
        tags=tuple(query.tag),
        created_after=query.created_after,
        created_before=query.created_before,
        search=query.q or None,
    )

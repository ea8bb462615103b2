"""Responses with JSON bodies, and those of single jobs with what HTTP has to say about them."""

import hashlib
from collections.abc import Mapping
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from steeple.api.render import job_text
from steeple.api.services import services_of
from steeple.api.waiting import preferred_wait
from steeple.domain.states import TERMINAL
from steeple.errors import JobNotFound
from steeple.store.reads import JobView, read_job

ACCEPTED = 202


def json_reply(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(text, status, headers, "application/json")


async def find_job(request: Request, job_id: UUID) -> JobView:
    """Raises ``JobNotFound``."""
    job = await services_of(request).reads.run(lambda connection: read_job(connection, job_id))
    if job is None:
        raise JobNotFound(str(job_id))
    return job


async def awaited(request: Request, job: JobView, seconds: float) -> JobView:
    """The job when it has ended, or as it is after ``seconds``."""
    if job.state in TERMINAL or seconds <= 0:
        return job
    await services_of(request).watcher.wait(job.id, seconds, request)
    return await find_job(request, job.id)


def wait_headers(seconds: float | None) -> dict[str, str]:
    """What tells a client that its ``Prefer: wait`` was heeded."""
    return {} if seconds is None else {"Preference-Applied": f"wait={seconds:g}"}


def preferred(request: Request) -> float | None:
    return preferred_wait(dict(request.scope["headers"]))


def tagged_reply(request: Request, job: JobView, headers: Mapping[str, str]) -> Response:
    """The job with its ETag; without a body if the client has that version already."""
    text = job_text(job)
    tag = f'"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"'
    tagged = {"ETag": tag, "Cache-Control": "no-cache", **headers}
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(None, 304, tagged)
    return json_reply(text, headers=tagged)


def job_id_of(text: str) -> UUID:
    """Raises ``JobNotFound`` for what is no id: no job has it."""
    found = id_in(text)
    if found is None:
        raise JobNotFound(shown(text))
    return found


def id_in(text: str) -> UUID | None:
    """None for what is no id in its usual form."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None


def shown(text: str) -> str:
    return text if len(text) <= 64 and text.isascii() and text.isprintable() else "of that id"

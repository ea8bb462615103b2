"""Builds the requests of every call and reads their replies. No I/O, no clock: the drivers in ``sync`` and ``aio``
send what is built here, so that every call is written once.
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NoReturn, Self, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter, ValidationError

from steeple.client import models
from steeple.client.encoding import encoded, query_of
from steeple.client.errors import (
    ApiError,
    ClientError,
    Conflict,
    Forbidden,
    InvalidRequest,
    JobNotFound,
    NotFound,
    Outdated,
    Problem,
    RateLimited,
    TransportError,
    Unauthorized,
    Unavailable,
    UnexpectedReply,
    WaitTimeout,
)
from steeple.client.models import Job, JobPage

LONGEST_HOLD = 20.0
"""Seconds that one ``?wait=N`` asks for: the API allows 60, but many proxies cut a silent connection after 30."""

PAGE_SIZE = 100
TRIES = 3
LONGEST_PAUSE = 10.0
"""Seconds. An API that asks for a longer pause has its refusal handed to the caller, who knows whether to wait."""

FIRST_PAUSE = 0.25
"""Seconds, before a request is sent again for the first time."""

_OUTRUN_PAUSE = 0.5

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Request(Generic[T]):
    """One call: what to send, and how to read the answer."""

    method: str
    path: str
    parse: Callable[[bytes], T]
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    job_id: str | None = None
    hold: float = 0.0
    """Seconds that the API may let the answer wait, on top of the usual timeout."""

    is_repeatable: bool = False
    """True if sending it twice does no more than sending it once."""

    note: Callable[[T, Mapping[str, str]], T] | None = None
    """Adds to what was read what the headers tell."""

    def read(self, reply: Reply) -> T:
        """What the reply holds. Raises ``ApiError`` or ``UnexpectedReply``."""
        if reply.status >= 400:
            _refuse(reply, self.job_id)
        try:
            if reply.status < 300:
                found = self.parse(reply.body)
                return found if self.note is None else self.note(found, reply.headers)
        except ValidationError as error:
            raise UnexpectedReply(reply.status, f"{error.error_count()} members of its body are wrong") from error
        raise UnexpectedReply(reply.status, f"redirects to {reply.headers.get('location')}")


def checked_url(url: str) -> str:
    """``url`` without a slash at its end. Raises ``ValueError`` if it is no address of an API; never repeats it,
    as it may hold a password."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment:
        raise ValueError("the API's URL must look like http://HOST:PORT or https://HOST")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the API's URL must not hold a user name or password: use an API key")
    return url.rstrip("/")


def client_headers(api_key: str | None) -> dict[str, str]:
    """The headers of every call. Raises ``ValueError`` for a key that no header can hold, without repeating it."""
    headers = {"Accept": "application/json", "User-Agent": "steeple-client"}
    if api_key is None:
        return headers
    if not re.fullmatch(r"[!-~]+", api_key):
        raise ValueError("the API key must be printable ASCII without spaces or line ends")
    return headers | {"Authorization": f"Bearer {api_key}"}


def submit(task: str, args: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Request[Job]:
    members = dict(options)
    headers = {"Idempotency-Key": members.pop("idempotency_key", None) or str(uuid.uuid4())}
    wait = members.pop("wait", None)
    if wait is not None:
        headers["Prefer"] = f"wait={wait:g}"
    body = encoded({"task": task, "args": args or {}} | members)
    return Request(
        "POST", "/v1/jobs", one(Job), (), headers, body, hold=wait or 0.0, is_repeatable=True, note=_with_conflict
    )


def _with_conflict(job: Job, headers: Mapping[str, str]) -> Job:
    return job.model_copy(update={"conflict": headers.get("unique-conflict")})


def submit_batch(jobs: Sequence[Mapping[str, Any]], *, partial: bool) -> Request[list[models.BatchItem]]:
    # The contract gives a batch no idempotency key: it is not repeatable.
    query = (("partial", "true"),) if partial else ()
    body = encoded({"jobs": [dict(job) for job in jobs]})
    return Request("POST", "/v1/jobs/batch", many("jobs", models.BatchItem), query, body=body)


def get(job_id: str, *, wait: float = 0.0) -> Request[Job]:
    query = (("wait", f"{wait:g}"),) if wait > 0 else ()
    return Request("GET", _job_path(job_id), one(Job), query, job_id=job_id, hold=wait, is_repeatable=True)


def cancel(job_id: str) -> Request[Job]:
    # Not repeatable: the second of two cancels meets a job that has ended, a conflict that nobody caused.
    return Request("POST", _job_path(job_id, "/cancel"), one(Job), job_id=job_id)


def retry(job_id: str) -> Request[Job]:
    return Request("POST", _job_path(job_id, "/retry"), one(Job), job_id=job_id)


def update(job_id: str, changes: Mapping[str, Any]) -> Request[Job]:
    return Request("PATCH", _job_path(job_id), one(Job), body=encoded(changes), job_id=job_id)


def attempts(job_id: str) -> Request[list[models.Attempt]]:
    parse = many("attempts", models.Attempt)
    return Request("GET", _job_path(job_id, "/attempts"), parse, job_id=job_id, is_repeatable=True)


def logs(job_id: str) -> Request[list[models.LogLine]]:
    return Request("GET", _job_path(job_id, "/logs"), many("logs", models.LogLine), job_id=job_id, is_repeatable=True)


def why(job_id: str) -> Request[list[models.Reason]]:
    path, parse = _job_path(job_id, "/why"), many("reasons", models.Reason)
    return Request("GET", path, parse, job_id=job_id, is_repeatable=True)


def tasks() -> Request[list[models.Task]]:
    return Request("GET", "/v1/tasks", many("tasks", models.Task), is_repeatable=True)


def queues() -> Request[list[models.Queue]]:
    return Request("GET", "/v1/queues", many("queues", models.Queue), is_repeatable=True)


def workers() -> Request[list[models.Worker]]:
    return Request("GET", "/v1/workers", many("workers", models.Worker), is_repeatable=True)


@dataclass(frozen=True)
class Listing:
    """A walk over the pages of the job list, ``remaining`` jobs far; None is to the end."""

    filters: Mapping[str, Any]
    remaining: int | None = None
    cursor: str | None = None

    @classmethod
    def of(cls, filters: Mapping[str, Any], limit: int | None) -> Self | None:
        return cls(filters, limit) if limit is None or limit > 0 else None

    def request(self) -> Request[JobPage]:
        size = PAGE_SIZE if self.remaining is None else min(PAGE_SIZE, self.remaining)
        query = query_of({**self.filters, "limit": size, "cursor": self.cursor})
        return Request("GET", "/v1/jobs", one(JobPage), query, is_repeatable=True)

    def jobs_of(self, page: JobPage) -> Sequence[Job]:
        return page.jobs[: self.remaining]

    def after(self, page: JobPage) -> Self | None:
        """Where the walk goes on after ``page``, None where it ends."""
        remaining = None if self.remaining is None else self.remaining - len(page.jobs)
        if page.next_cursor is None or (remaining is not None and remaining <= 0):
            return None
        return replace(self, remaining=remaining, cursor=page.next_cursor)


@dataclass(frozen=True)
class Waiting:
    """A wait for the end of a job, from ``since`` on (a monotonic clock's seconds); ``timeout`` None is forever."""

    job_id: str
    timeout: float | None
    since: float

    def request(self, now: float) -> Request[Job]:
        left = LONGEST_HOLD if self.timeout is None else self.since + self.timeout - now
        return get(self.job_id, wait=round(min(LONGEST_HOLD, max(left, 0.0)), 3))

    def is_over(self, job: Job, now: float) -> bool:
        """True if the job has ended. Raises ``WaitTimeout`` if it has not, and the time is up."""
        if not job.is_finished and self.timeout is not None and now >= self.since + self.timeout:
            raise WaitTimeout(job, self.timeout)
        return job.is_finished

    def pause(self, held: float, now: float) -> float:
        """Seconds to pause when an API answers at once instead of holding the request: no busy loop."""
        left = _OUTRUN_PAUSE if self.timeout is None else self.since + self.timeout - now
        return max(0.0, min(_OUTRUN_PAUSE, left)) if held < _OUTRUN_PAUSE else 0.0


def pause_before_retry(request: Request[Any], error: ClientError, tries: int, jitter: float) -> float | None:
    """Seconds until the request may be sent again after ``tries`` failed ones; None if it may not.

    The pauses grow by 4 from ``FIRST_PAUSE``; ``jitter``, from 0 to 1, takes up to half of it off, so that clients of
    an API that comes back do not meet in one moment.
    """
    if tries >= TRIES or not _may_send_again(request, error):
        return None
    backoff = FIRST_PAUSE * 4 ** (tries - 1) * (1 - jitter / 2)
    wanted = getattr(error, "retry_after", None) or 0.0
    return max(backoff, wanted) if wanted <= LONGEST_PAUSE else None


def _may_send_again(request: Request[Any], error: ClientError) -> bool:
    if isinstance(error, TransportError):
        return request.is_repeatable or not error.was_sent
    return request.is_repeatable and isinstance(error, Unavailable)


def _refuse(reply: Reply, job_id: str | None) -> NoReturn:
    problem, is_problem = _problem(reply)
    match reply.status:
        case 400 | 413 | 422:
            raise InvalidRequest(reply.status, problem)
        case 401:
            raise Unauthorized(reply.status, problem)
        case 403:
            raise Forbidden(reply.status, problem)
        case 404 if job_id is not None and is_problem:
            raise JobNotFound(reply.status, problem, job_id)
        case 404 if is_problem:
            raise NotFound(reply.status, problem)
        case 409:
            raise Conflict(reply.status, problem)
        case 412:
            raise Outdated(reply.status, problem)
        case 429:
            raise RateLimited(reply.status, problem, _retry_after(reply))
        case 503:
            raise Unavailable(reply.status, problem, _retry_after(reply))
        case _:
            raise ApiError(reply.status, problem)


def _problem(reply: Reply) -> tuple[Problem, bool]:
    if "json" not in reply.headers.get("content-type", ""):
        return Problem(title=reply.body[:200].decode(errors="replace")), False
    try:
        return Problem.model_validate_json(reply.body), "problem+json" in reply.headers["content-type"]
    except ValidationError:
        return Problem(title=reply.body[:200].decode(errors="replace")), False


def _retry_after(reply: Reply) -> float | None:
    # A proxy may send an HTTP date instead; without a clock at hand that reads as "did not say".
    value = reply.headers.get("retry-after", "")
    return float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else None


def one(model: type[T]) -> Callable[[bytes], T]:
    """Reads a body that is a document of this model."""
    return TypeAdapter(model).validate_json


def many(member: str, model: type[T]) -> Callable[[bytes], list[T]]:
    adapter = TypeAdapter(dict[str, Any])
    items = TypeAdapter(list[model])  # type: ignore[valid-type]
    return lambda body: items.validate_python(adapter.validate_json(body).get(member))


def _job_path(job_id: str, action: str = "") -> str:
    if not re.fullmatch(r"[0-9A-Za-z-]+", job_id):
        raise ValueError(f"{job_id!r} is not the id of a job")
    return f"/v1/jobs/{quote(job_id)}{action}"

"""What can go wrong between a client and the API, as types that carry facts. No I/O and no words of advice here.

::

    ClientError
    ├── ApiError                      the API answered, and refused: ``status`` and ``problem`` (RFC 9457)
    │   ├── InvalidRequest            400, 413, 422: ``errors`` points at the fields
    │   ├── Unauthorized              401: no API key, or one that the API does not know
    │   ├── Forbidden                 403: the key's scopes do not allow this
    │   ├── NotFound                  404
    │   │   ├── JobNotFound           for a job: ``job_id``
    │   │   └── OperationNotFound     for an operation: ``operation_id``
    │   ├── Conflict                  409: the state of it, or a key or name that is taken, does not allow this
    │   │   └── Outdated              412: it is no longer the version that was to be changed
    │   ├── RateLimited               429: ``retry_after`` seconds
    │   └── Unavailable               503: ``retry_after`` seconds
    ├── UnexpectedReply               what answered does not speak Steeple's API
    ├── TransportError                no answer came: ``url``, ``was_sent``
    ├── WaitTimeout                   the job has not ended in time: ``job``, ``timeout``
    └── OperationTimeout              the operation has not ended in time: ``operation``, ``timeout``
"""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from steeple.client.models import Job, Operation


class FieldFault(BaseModel):
    """One fault in what was sent. ``pointer`` is an RFC 6901 JSON Pointer, such as ``/args/month``."""

    model_config = ConfigDict(frozen=True)

    pointer: str = ""
    detail: str = ""


class Problem(BaseModel):
    """An ``application/problem+json`` document; members that are not named here are kept in ``model_extra``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str = "about:blank"
    title: str = ""
    detail: str = ""
    request_id: str | None = None
    errors: tuple[FieldFault, ...] = ()


class ClientError(Exception):
    """The root of all errors that ``Client`` and ``AsyncClient`` raise about a call."""


class ApiError(ClientError):
    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(": ".join(filter(None, (str(status), problem.title, problem.detail))))
        self.status = status
        self.problem = problem


class InvalidRequest(ApiError):
    @property
    def errors(self) -> Sequence[FieldFault]:
        return self.problem.errors


class Unauthorized(ApiError):
    """The API wants a key, or does not know the one it was given."""


class Forbidden(ApiError):
    """The key is known, and its scopes do not reach this far."""


class NotFound(ApiError):
    """There is none of this id."""


class JobNotFound(NotFound):
    def __init__(self, status: int, problem: Problem, job_id: str) -> None:
        super().__init__(status, problem)
        self.job_id = job_id


class OperationNotFound(NotFound):
    def __init__(self, status: int, problem: Problem, operation_id: str) -> None:
        super().__init__(status, problem)
        self.operation_id = operation_id


class Conflict(ApiError):
    """The job's state does not allow this, or an active job holds the unique key; ``problem`` says which."""


class Outdated(Conflict):
    """Somebody else has changed it; read it again, and decide anew."""


class RetryLater(ApiError):
    """The API refuses for now. ``retry_after`` is in seconds, None if the API did not say."""

    def __init__(self, status: int, problem: Problem, retry_after: float | None) -> None:
        super().__init__(status, problem)
        self.retry_after = retry_after


class RateLimited(RetryLater):
    """Too many calls in too short a time."""


class Unavailable(RetryLater):
    """The API cannot reach its database, or is starting or stopping."""


class UnexpectedReply(ClientError):
    def __init__(self, status: int, what: str) -> None:
        super().__init__(f"not a reply of Steeple's API ({status}): {what}")
        self.status = status
        self.what = what


class TransportError(ClientError):
    """No answer came. ``was_sent`` is False when the request certainly never reached the API."""

    def __init__(self, url: str, reason: str, *, was_sent: bool) -> None:
        super().__init__(f"no answer from {url}: {reason}")
        self.url = url
        self.reason = reason
        self.was_sent = was_sent


class WaitTimeout(ClientError):
    """``job`` is the job as it was last seen; ``timeout`` is in seconds."""

    def __init__(self, job: Job, timeout: float) -> None:
        super().__init__(f"job {job.id} is still {job.state} after {timeout:g} s")
        self.job = job
        self.timeout = timeout


class OperationTimeout(ClientError):
    """``operation`` is the operation as it was last seen; ``timeout`` is in seconds."""

    def __init__(self, operation: Operation, timeout: float) -> None:
        super().__init__(f"operation {operation.id} is still {operation.state} after {timeout:g} s")
        self.operation = operation
        self.timeout = timeout

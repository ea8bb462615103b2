"""The HTTP client: all that ``pip install steeple`` brings. Needs httpx2 and pydantic, and no other part of Steeple."""

from steeple.client.aio import AsyncClient
from steeple.client.errors import (
    ApiError,
    ClientError,
    Conflict,
    Forbidden,
    InvalidRequest,
    JobNotFound,
    NotFound,
    OperationNotFound,
    OperationTimeout,
    Outdated,
    RateLimited,
    TransportError,
    Unauthorized,
    Unavailable,
    UnexpectedReply,
    WaitTimeout,
)
from steeple.client.models import Job, Operation, OperationPreview
from steeple.client.sync import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Conflict",
    "Forbidden",
    "InvalidRequest",
    "Job",
    "JobNotFound",
    "NotFound",
    "Operation",
    "OperationNotFound",
    "OperationPreview",
    "OperationTimeout",
    "Outdated",
    "RateLimited",
    "TransportError",
    "Unauthorized",
    "Unavailable",
    "UnexpectedReply",
    "WaitTimeout",
]

"""What the parts hand each other about a job: to submit it, to run it, to record how an attempt ended.

Of what is made for every job that runs, named tuples: they cost a quarter of a frozen dataclass.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.domain.states import State
from steeple.domain.unique import OnConflict

DEFAULT_QUEUE = "default"
DEFAULT_TIMEOUT = 3600.0


class Reason(StrEnum):
    """Why an attempt failed; ``error.reason`` of a job."""

    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    CRASH = "crash"
    REJECTED = "rejected"
    EXPIRED = "expired"
    RESULT_TOO_LARGE = "result_too_large"
    BAD_RESULT = "bad_result"
    UNKNOWN_TASK = "unknown_task"
    PARENT_FAILED = "parent_failed"


class ParentFailure(StrEnum):
    """What becomes of a job that waits for others when one of them ends without success."""

    CANCEL = "cancel"
    """It is cancelled, at once, and with it those that wait for it."""

    RUN = "run"
    """It runs once all have ended, however they did."""

    HOLD = "hold"
    """It waits for somebody to decide: to run it all the same, to cancel it, or to start the flow anew."""


class Hold(StrEnum):
    """Why a pending job is no candidate, though it be due."""

    UNCONFIRMED = "unconfirmed"
    """Its parents have not been looked at since it was committed."""

    PARENTS = "parents"
    """A parent has not ended."""

    PARENT_FAILED = "parent failed"
    """A parent ended without success, and somebody has to decide."""


@dataclass(frozen=True)
class JobError:
    type: str
    message: str
    reason: Reason
    traceback: str | None = None


@dataclass(frozen=True)
class NewJob:
    """A validated request for a job. ``args`` is JSON text; ``delay`` is in seconds, and excludes ``run_at``."""

    id: UUID
    task: str
    args: str
    queue: str = DEFAULT_QUEUE
    priority: Priority = Priority.DEFAULT
    tags: tuple[str, ...] = ()
    unique_key: str | None = None
    unique_states: tuple[State, ...] | None = None
    """In which it holds its key; None: while it is active."""
    unique_period: float | None = None
    """Seconds after which another job may take the key; None: none may."""
    on_conflict: OnConflict = OnConflict.REJECT
    run_at: datetime | None = None
    delay: float | None = None
    expires_at: datetime | None = None
    timeout: float = DEFAULT_TIMEOUT
    max_attempts: int = 3
    retry: Retry | None = None
    """Only when the job overrides its task's policy."""
    idempotency: "Idempotency | None" = None
    schedule_id: UUID | None = None
    """Of the schedule that makes it."""
    after: tuple[UUID, ...] = ()
    """Its parents: jobs that must end before it runs."""
    on_parent_failure: ParentFailure = ParentFailure.CANCEL
    flow_id: UUID | None = None
    limits: tuple[str, ...] = ()
    """The keys of limits, sorted."""
    fair_key: str | None = None


@dataclass(frozen=True)
class Idempotency:
    """``owner`` scopes ``key`` (a tenant, an API key's id); ``request_hash`` tells a repeat from another request."""

    owner: str
    key: str
    request_hash: bytes


class ClaimedJob(NamedTuple):
    """A job as its worker sees it. ``attempt`` and ``fence`` are those of this claim."""

    id: UUID
    fence: int
    task: str
    args: str
    queue: str
    attempt: int
    max_attempts: int
    timeout: float
    retry: Retry | None
    run_at: datetime
    claimed_at: datetime
    crashes: int = 0


class Finish(NamedTuple):
    """How an attempt ended, to be written where (id, fence) still hold.

    ``state`` PENDING means: again in ``retry_in`` seconds. ``began_ago`` and ``ended_ago`` are seconds before the
    moment of writing, so that all times are the database's.
    """

    id: UUID
    fence: int
    state: State
    result: str | None = None
    error: JobError | None = None
    retry_in: float | None = None
    began_ago: float = 0.0
    ended_ago: float = 0.0


class Claim(NamedTuple):
    """Names one claim of one job."""

    id: UUID
    fence: int

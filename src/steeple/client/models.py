"""What the API answers with, as frozen models. A member that a newer API adds never breaks an older client:
the contract's job ignores it, the listings that the contract leaves open keep it in ``model_extra``.
"""

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

TERMINAL_STATES = frozenset({"SUCCESS", "FAILED", "CANCELLED"})


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _OpenReply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class JobError(_OpenReply):
    """Why an attempt or a job failed. ``reason`` is one of the contract's, such as ``exception`` or ``timeout``."""

    type: str | None = None
    message: str = ""
    traceback: str | None = None
    reason: str | None = None


class Stop(_OpenReply):
    """How a running task was stopped; ``reason``: ``cancel`` or ``timeout``. No ``killed_at``: it heeded the signal."""

    reason: str
    requested_at: AwareDatetime | None = None
    signalled_at: AwareDatetime | None = None
    killed_at: AwareDatetime | None = None


class Job(_Reply):
    """A job as the API last saw it. ``timeout`` is in seconds; all times are aware of their zone, UTC."""

    id: str
    task: str
    args: dict[str, Any]
    state: str
    queue: str
    priority: str
    tags: tuple[str, ...] = ()
    unique_key: str | None = None
    run_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    timeout: float | None = None
    attempt: int
    max_attempts: int
    crashes: int = 0
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    worker: str | None = None
    progress: Any = None
    result: Any = None
    error: JobError | None = None
    cancel_requested_at: AwareDatetime | None = None
    stop: Stop | None = None
    schedule_id: str | None = None
    limits: tuple[str, ...] = ()
    fair_key: str | None = None

    @property
    def is_finished(self) -> bool:
        """True if the job has ended and only an explicit retry will change it."""
        return self.state in TERMINAL_STATES


class JobPage(_Reply):
    """One page of a listing, newest job first; ``next_cursor`` is None on the last page."""

    jobs: tuple[Job, ...]
    next_cursor: str | None = None


class BatchItem(_OpenReply):
    """What became of one job of a batch: ``id`` if it was accepted, otherwise ``error``."""

    id: str | None = None
    error: Any = None


class Attempt(_OpenReply):
    """A past execution of a job that did not succeed."""

    attempt: int | None = None
    state: str | None = None
    worker: str | None = None
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    error: JobError | None = None
    stop: Stop | None = None


class LogLine(_OpenReply):
    """What a task wrote with ``context.log``."""

    at: AwareDatetime | None = None
    attempt: int | None = None
    message: str = ""
    fields: dict[str, Any] = {}


class Task(_OpenReply):
    """A task that can be submitted; the JSON Schema of its arguments is in ``model_extra``."""

    name: str


class Queue(_OpenReply):
    """A queue and its counts."""

    name: str
    paused: bool = False


class Reason(_OpenReply):
    """Why a job does not run, or where it does; the facts that go with ``code`` are in ``model_extra``."""

    code: str
    text: str


class Limit(_OpenReply):
    """A limit by key. ``running`` and ``waiting`` count jobs that name this very key."""

    key: str
    max_running: int | None = None
    rate: dict[str, Any] | None = None
    running: int = 0
    waiting: int = 0


class Weight(_OpenReply):
    """What a fair key weighs beside others in its lane."""

    fair_key: str
    weight: float


class Worker(_OpenReply):
    """A worker process with its slots, lanes and last heartbeat."""

    name: str

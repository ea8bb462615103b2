"""What the API answers with, as frozen models. A member that a newer API adds never breaks an older client:
the contract's job ignores it, the listings that the contract leaves open keep it in ``model_extra``.
"""

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

OVER_STATES = frozenset({"DONE", "ABORTED"})
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
    unique_states: tuple[str, ...] | None = None
    unique_until: AwareDatetime | None = None
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
    after: tuple[str, ...] = ()
    on_parent_failure: str | None = None
    flow_id: str | None = None
    conflict: str | None = Field(default=None, exclude=True)
    """In the answer to a submit: what was done about the job that held the unique key, which this is."""

    @property
    def is_finished(self) -> bool:
        """True if the job has ended and only an explicit retry will change it."""
        return self.state in TERMINAL_STATES


class JobPage(_Reply):
    """One page of a listing, newest job first; ``next_cursor`` is None on the last page."""

    jobs: tuple[Job, ...]
    next_cursor: str | None = None


class SkipReason(_OpenReply):
    """Why an operation left ``jobs`` jobs as they were; ``examples`` are a few of them, each with its ``id``."""

    reason: str
    jobs: int
    examples: tuple[dict[str, Any], ...] = ()


class Operation(_Reply):
    """One action on every job that matches ``filter``, as the API last saw it. ``total`` None: too many to count."""

    id: str
    action: str
    filter: dict[str, Any]
    set: dict[str, Any] | None = None
    state: str
    done: int
    skipped: int
    total: int | None = None
    reasons: tuple[SkipReason, ...] = ()
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None

    @property
    def is_finished(self) -> bool:
        """True if it acts on no more jobs."""
        return self.state in OVER_STATES


class OperationPage(_Reply):
    """One page of a listing, newest operation first; ``next_cursor`` is None on the last page."""

    operations: tuple[Operation, ...]
    next_cursor: str | None = None


class OperationPreview(_Reply):
    """``count`` jobs match, or at least so many if it ``is_exact`` not; ``sample``: the newest few of them."""

    count: int
    is_exact: bool = True
    sample: tuple[Job, ...] = ()


class BatchItem(_OpenReply):
    """What became of one job of a batch: ``id`` if it was accepted, otherwise ``error``."""

    id: str | None = None
    conflict: str | None = None
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
    """A queue, its counts, and what was set for it. ``drained``: paused, and none of its jobs runs any more."""

    name: str
    counts: dict[str, int] = {}
    paused: bool = False
    paused_at: AwareDatetime | None = None
    paused_by: str | None = None
    pause_note: str | None = None
    drained: bool = False
    default_priority: str | None = None
    retention: float | None = None
    max_running: int | None = None
    rate: dict[str, Any] | None = None


class Purge(_OpenReply):
    """``count`` jobs were cancelled, or would be; ``remaining`` of those that were pending then still are."""

    dry_run: bool = False
    count: int
    remaining: int = 0


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

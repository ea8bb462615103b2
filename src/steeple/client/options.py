"""What callers may say about a job, as typed keywords of the client's methods. An option that an older client does not
know is passed on as it is: the API decides.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NotRequired, Required, TypedDict


class JobOptions(TypedDict, total=False):
    """Options of a job. Durations are seconds (or a ``timedelta``), times are aware datetimes (or RFC 3339 text)."""

    queue: str
    priority: str
    run_at: datetime | str
    delay: float | timedelta
    expires_at: datetime | str
    timeout: float | timedelta
    max_attempts: int
    unique_key: str
    unique_states: Sequence[str]
    unique_period: float | timedelta
    on_conflict: str
    limits: Sequence[str]
    fair_key: str
    tags: Sequence[str]
    after: Sequence[str]
    on_parent_failure: str
    flow_id: str


class SubmitOptions(JobOptions, total=False):
    """Options of one submit. ``idempotency_key``: at most one job for this key, generated if not given.
    ``wait``: seconds, 60 at most; the answer comes when the job ends, or then.
    """

    idempotency_key: str
    wait: float


class BatchJob(JobOptions):
    """One job of a batch. Others may wait for it by its ``ref`` in their ``after``, as well as by ids."""

    task: str
    args: Mapping[str, Any]
    ref: NotRequired[str]


class QueueChanges(TypedDict, total=False):
    """What may be set for a queue; None takes away what was set. ``retention``: seconds, or a ``timedelta``."""

    default_priority: str | None
    retention: float | timedelta | None
    max_running: int | None
    rate: "Rate | None"


class Rate(TypedDict, total=False):
    """``count`` starts per ``period`` seconds; ``burst``: how many at once after a quiet time, if not ``count``."""

    count: Required[int]
    period: Required[float]
    burst: int


class JobChanges(TypedDict, total=False):
    """What may be changed while a job is ``PENDING``."""

    priority: str
    queue: str
    run_at: datetime | str
    max_attempts: int


class JobFilters(TypedDict, total=False):
    """Which jobs to list; several values of one filter match any of them."""

    state: str | Sequence[str]
    task: str | Sequence[str]
    queue: str | Sequence[str]
    priority: str | Sequence[str]
    tag: str | Sequence[str]
    created_after: datetime | str
    created_before: datetime | str
    q: str

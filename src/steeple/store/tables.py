"""The schema, as declarative models. Alembic's migrations are made from it; queries live beside their purpose."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from steeple.domain.states import State
from steeple.store.declarative import Table as Table
from steeple.store.declarative import job_state
from steeple.store.flow_tables import Flow as Flow
from steeple.store.flow_tables import JobParent as JobParent
from steeple.store.operation_tables import Operation as Operation
from steeple.store.rule_tables import Limit as Limit
from steeple.store.rule_tables import LimitTokens as LimitTokens
from steeple.store.rule_tables import Queue as Queue
from steeple.store.rule_tables import Share as Share
from steeple.store.rule_tables import ShareClock as ShareClock
from steeple.store.rule_tables import Weight as Weight
from steeple.store.schedule_tables import Backfill as Backfill
from steeple.store.schedule_tables import Fire as Fire
from steeple.store.schedule_tables import Schedule as Schedule

_DUE = ("queue", "priority", "run_at", "id")
_PLAIN = "state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL"
_RULED = "state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)"
_SHARING = "state = 'PENDING' AND held_by IS NULL AND fair_key IS NOT NULL"


class Job(Table):
    """One request to run a task. ``args`` and ``result`` are json, not jsonb: kept as they came, number for number.

    It holds its ``unique_key`` in its ``unique_states`` (null: PENDING and RUNNING), until it lets go of it for good at
    ``unique_released_at``: when it is claimed, by a trigger, if RUNNING is none of them; or after ``unique_until``, for
    whoever wants it.
    """

    __tablename__ = "jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[State] = mapped_column(job_state, server_default="PENDING")
    fence: Mapped[int] = mapped_column(BigInteger, server_default="0")
    task: Mapped[str]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger)
    run_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    timeout: Mapped[float]
    attempt: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int]
    crashes: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    slot: Mapped[int | None] = mapped_column(SmallInteger)
    worker_id: Mapped[UUID | None]
    schedule_id: Mapped[UUID | None]
    unique_key: Mapped[str | None]
    unique_states: Mapped[list[State] | None] = mapped_column(ARRAY(job_state))
    unique_until: Mapped[datetime | None]
    unique_released_at: Mapped[datetime | None]
    idempotency_owner: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[bytes | None]
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    retry: Mapped[dict[str, Any] | None]
    args: Mapped[dict[str, Any]]
    progress: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    stop: Mapped[dict[str, Any] | None]
    held_by: Mapped[str | None] = mapped_column(Text(collation="C"))
    """Why a pending job is no candidate, though it be due."""
    on_parent_failure: Mapped[str | None]
    """Null: it never had parents."""
    has_children: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether jobs have been made to wait for it."""
    flow_id: Mapped[UUID | None]
    limits: Mapped[list[str] | None]
    fair_key: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("priority BETWEEN 0 AND 2", name="priority"),
        CheckConstraint("attempt BETWEEN 0 AND max_attempts", name="attempts"),
        CheckConstraint("crashes BETWEEN 0 AND 3", name="crashes"),
        CheckConstraint("on_parent_failure IN ('cancel', 'run', 'hold')", name="on_parent_failure"),
        CheckConstraint("fair_key <> ''", name="fair_key"),
        Index("jobs_due", *_DUE, postgresql_where=text(_PLAIN)),
        Index("jobs_due_by_rule", *_DUE, postgresql_where=text(_RULED)),
        Index(
            "jobs_sharing",
            "queue",
            "priority",
            "fair_key",
            "run_at",
            "id",
            postgresql_where=text(_SHARING),
        ),
        Index("jobs_held", "held_by", *_DUE, postgresql_where=text("state = 'PENDING' AND held_by IS NOT NULL")),
        Index("jobs_flow", "flow_id", "id", postgresql_where=text("flow_id IS NOT NULL")),
        Index("jobs_running_limited", "queue", postgresql_where=text("state = 'RUNNING' AND limits IS NOT NULL")),
        Index("jobs_running", "worker_id", postgresql_where=text("state = 'RUNNING'")),
        Index(
            "jobs_scheduled",
            "schedule_id",
            postgresql_where=text("schedule_id IS NOT NULL AND state IN ('PENDING', 'RUNNING')"),
        ),
        Index("jobs_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index(
            "jobs_expiring",
            "expires_at",
            postgresql_where=text("state = 'PENDING' AND expires_at IS NOT NULL"),
        ),
        Index(
            "jobs_unique_key",
            "unique_key",
            unique=True,
            postgresql_where=text(
                "unique_key IS NOT NULL AND unique_released_at IS NULL"
                " AND state = ANY (COALESCE(unique_states, CAST('{PENDING,RUNNING}' AS job_state[])))"
            ),
        ),
        Index(
            "jobs_idempotency_key",
            "idempotency_owner",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index("jobs_of_a_kind", "state", "queue", "task", "id", postgresql_where=text("state <> 'RUNNING'")),
        Index(
            "jobs_of_a_kind_tagged",
            "state",
            "queue",
            "task",
            "id",
            postgresql_where=text("state <> 'RUNNING' AND tags <> '{}'"),
        ),
        Index("jobs_tagged", "id", postgresql_where=text("cardinality(tags) > 0")),
        Index("jobs_tags", "tags", postgresql_using="gin", postgresql_where=text("tags <> '{}'")),
        {
            "postgresql_with": {
                "fillfactor": "85",
                "autovacuum_vacuum_scale_factor": "0.02",
                "autovacuum_analyze_scale_factor": "0.05",
                "autovacuum_vacuum_cost_delay": "0",
            }
        },
    )


class Attempt(Table):
    """A past attempt that did not succeed, or one that an explicit retry put behind it."""

    __tablename__ = "attempts"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    attempt: Mapped[int]
    state: Mapped[State] = mapped_column(job_state)
    worker_id: Mapped[UUID | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    stop: Mapped[dict[str, Any] | None]


class LogLine(Table):
    __tablename__ = "job_logs"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    at: Mapped[datetime]
    message: Mapped[str]
    fields: Mapped[dict[str, Any]]

    __table_args__ = (Index("job_logs_job", "job_id", "id"),)


class Worker(Table):
    """A worker process. ``queues`` null: every queue. ``ended_at`` set: stopped or found dead, for ever."""

    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[str]
    slots: Mapped[int]
    queues: Mapped[list[str] | None]
    priorities: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    tasks: Mapped[list[str]]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    ended_at: Mapped[datetime | None]
    trouble: Mapped[str | None]

    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)


class Task(Table):
    """A task that some part has registered, with what is needed to accept jobs for it without its code."""

    __tablename__ = "tasks"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    schema: Mapped[dict[str, Any]]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger)
    names_priority: Mapped[bool] = mapped_column(server_default=text("true"))
    timeout: Mapped[float]
    retry: Mapped[dict[str, Any]]
    is_async: Mapped[bool]
    limits: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    fair_key: Mapped[str | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class JoinedRequest(Table):
    """An idempotency key of a request that made no job: it came in some ``way`` to the holder of its unique key."""

    __tablename__ = "joined_requests"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes]
    job_id: Mapped[UUID]
    way: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("joined_requests_at", "at"),)


class ApiKey(Table):
    """``hash`` is the SHA-256 of the key; the key itself is shown once and kept nowhere."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str]
    hash: Mapped[bytes]
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index("api_keys_hash", "hash", unique=True),)


class Counter(Table):
    """Totals of rare events, for metrics: stale finishes, rescues, dropped wake-ups."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class FinishedMinute(Table):
    """Finished jobs per minute, queue, task and state: what history is read from. Pruned with the jobs."""

    __tablename__ = "finished_minutes"

    minute: Mapped[datetime] = mapped_column(primary_key=True)
    queue: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[State] = mapped_column(job_state, primary_key=True)
    jobs: Mapped[int] = mapped_column(BigInteger)
    run_seconds: Mapped[float]
    wait_seconds: Mapped[float]
    run_buckets: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    wait_buckets: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class FinishedTotal(Table):
    """The sums of all minutes, pruned ones too: what metrics are read from, as their totals must never decrease."""

    __tablename__ = "finished_totals"

    queue: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[State] = mapped_column(job_state, primary_key=True)
    jobs: Mapped[int] = mapped_column(BigInteger)
    run_seconds: Mapped[float]
    wait_seconds: Mapped[float]
    run_buckets: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    wait_buckets: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class Watermark(Table):
    """How far a scheduler's tick has come, for ticks that go through time. The migrations make the rows."""

    __tablename__ = "watermarks"

    name: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]

"""Flows: jobs that were submitted as one, read, cancelled and started anew from where they failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from steeple.domain.flows import flow_state
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import TERMINAL, State
from steeple.errors import FlowConflict, FlowNotFound, UniqueKeyHeld
from steeple.store.inbox_conflicts import let_go

# Gives a flow its name. That it is there already means that this was done before, and the reply lost.
_INSERT = text("INSERT INTO flows (id, name) VALUES (:id, :name) ON CONFLICT DO NOTHING")

# How many jobs of a flow are in each state, and how many of the pending wait for a decision.
_COUNTS = text("""
SELECT state, count(*) AS jobs, count(*) FILTER (WHERE held_by = 'parent failed') AS held,
       min(created_at) AS created_at, max(finished_at) AS finished_at
FROM jobs WHERE flow_id = :id GROUP BY state
""")

# What a flow is called.
_NAME = text("SELECT name FROM flows WHERE id = :id")

# The first jobs of a flow, with what each waits for.
_JOBS = text("""
SELECT id, task, state, held_by,
       ARRAY(SELECT parent_id FROM job_parents WHERE child_id = jobs.id ORDER BY parent_id) AS after
FROM jobs WHERE flow_id = :id ORDER BY id LIMIT :limit
""")

# Cancels the pending jobs of a flow, and notes the wish on those that run.
_CANCEL = text("""
WITH active AS MATERIALIZED (
    SELECT id FROM jobs WHERE flow_id = :id AND CAST(state AS text) IN ('PENDING', 'RUNNING') ORDER BY id FOR UPDATE
)
UPDATE jobs SET
    state = CASE WHEN state = 'PENDING' THEN 'CANCELLED' ELSE state END,
    fence = fence + CASE WHEN state = 'PENDING' THEN 1 ELSE 0 END,
    finished_at = CASE WHEN state = 'PENDING' THEN now() END,
    cancel_requested_at = COALESCE(cancel_requested_at, now()), held_by = NULL
FROM active WHERE jobs.id = active.id AND jobs.state IN ('PENDING', 'RUNNING')
RETURNING jobs.id
""")

# Starts what failed or was cancelled in a flow anew, as an explicit retry does; what had parents is to be confirmed.
_RESTART = text("""
WITH ended AS MATERIALIZED (
    SELECT id, state, queue, task, finished_at FROM jobs
    WHERE flow_id = :id AND CAST(state AS text) IN ('FAILED', 'CANCELLED') ORDER BY id FOR UPDATE
),
gone AS MATERIALIZED (
    SELECT queue, task, state, count(*) AS jobs, (
        SELECT max(minute) FROM finished_minutes AS known
        WHERE (known.queue, known.task, known.state) = (ended.queue, ended.task, ended.state)
          AND minute IN (date_trunc('minute', ended.finished_at, 'UTC'), date_trunc('hour', ended.finished_at, 'UTC'))
    ) AS minute
    FROM ended, watermarks WHERE watermarks.name = 'finished_minutes' AND ended.finished_at <= watermarks.at
    GROUP BY queue, task, state, minute
),
uncounted AS (
    UPDATE finished_minutes AS counted SET jobs = counted.jobs - gone.jobs FROM gone
    WHERE (counted.queue, counted.task, counted.state) = (gone.queue, gone.task, gone.state)
      AND counted.minute = gone.minute
)
UPDATE jobs SET
    state = 'PENDING', fence = jobs.fence + 1, attempt = 0, crashes = 0, run_at = now(),
    expires_at = NULL, started_at = NULL, finished_at = NULL, cancel_requested_at = NULL,
    worker_id = NULL, slot = NULL, progress = NULL, result = NULL, error = NULL, stop = NULL,
    held_by = CASE WHEN on_parent_failure IS NULL THEN NULL ELSE 'unconfirmed' END,
    unique_released_at = CASE WHEN unique_until <= now() THEN COALESCE(unique_released_at, now()) END
FROM ended WHERE jobs.id = ended.id
RETURNING jobs.id, jobs.queue, jobs.priority, jobs.held_by
""")

# Has those that wait in a flow look anew at parents that had ended without success; gives who is to be confirmed.
_LOOK_ANEW = text("""
WITH waiting AS MATERIALIZED (
    SELECT id, held_by FROM jobs
    WHERE flow_id = :id AND CAST(state AS text) = 'PENDING' AND held_by IN ('unconfirmed', 'parents', 'parent failed')
    ORDER BY id FOR UPDATE
),
reopened AS (
    UPDATE job_parents SET ended_as = NULL
    WHERE child_id IN (SELECT id FROM waiting) AND ended_as IN ('FAILED', 'CANCELLED')
    RETURNING child_id
)
UPDATE jobs SET held_by = 'unconfirmed'
WHERE id IN (SELECT child_id FROM reopened UNION SELECT id FROM waiting WHERE held_by = 'unconfirmed')
RETURNING id
""")

# The job that has the unique key of an ended one of a flow: an active one, or another that would be started with it.
_RIVAL = text("""
SELECT rival.id, rival.unique_key, COALESCE(rival.unique_until <= now(), false) AS is_over
FROM jobs JOIN jobs AS rival ON rival.unique_key = jobs.unique_key
WHERE jobs.flow_id = :id AND jobs.id <> rival.id AND rival.unique_key IS NOT NULL
  AND (
      rival.unique_released_at IS NULL
          AND rival.state = ANY (COALESCE(rival.unique_states, CAST('{PENDING,RUNNING}' AS job_state[])))
      OR rival.flow_id = :id AND rival.state IN ('FAILED', 'CANCELLED')
          AND (rival.unique_until IS NULL OR rival.unique_until > now())
  )
  AND jobs.state IN ('FAILED', 'CANCELLED') AND (jobs.unique_until IS NULL OR jobs.unique_until > now())
LIMIT 1
""")

# Forgets the names of flows none of whose jobs is kept any more.
_FORGET = text("""
DELETE FROM flows
WHERE created_at < now() - CAST(:retention AS float8) * interval '1 s'
  AND NOT EXISTS (SELECT FROM jobs WHERE jobs.flow_id = flows.id)
""")


@dataclass(frozen=True)
class FlowJob:
    """A job of a flow, in short. ``held_by``: why it is no candidate, though pending."""

    id: UUID
    task: str
    state: State
    held_by: str | None
    after: tuple[UUID, ...]


@dataclass(frozen=True)
class FlowView:
    """``counts`` has every state; ``held`` of the pending jobs wait for a decision. ``finished_at``: None unless ended.

    ``jobs`` are the first ones, in the order of their ids; ``has_more`` if there are others.
    """

    id: UUID
    name: str | None
    state: State
    counts: dict[State, int]
    held: int
    created_at: datetime
    finished_at: datetime | None
    jobs: tuple[FlowJob, ...]
    has_more: bool


@dataclass(frozen=True)
class Restarted:
    """``due``: how many jobs are due at once, by lane; ``unconfirmed``: those to be confirmed after the commit."""

    due: dict[Lane, int]
    unconfirmed: tuple[UUID, ...]


def name_flow(connection: Connection, flow_id: UUID, name: str | None) -> None:
    connection.execute(_INSERT, {"id": flow_id, "name": name})


def read_flow(connection: Connection, flow_id: UUID, *, limit: int = 0) -> FlowView:
    """The flow with its first ``limit`` jobs. Raises ``FlowNotFound`` if no job of it is kept."""
    rows = connection.execute(_COUNTS, {"id": flow_id}).all()
    if not rows:
        raise FlowNotFound(str(flow_id))
    counts = dict.fromkeys(State, 0) | {State(row.state): row.jobs for row in rows}
    held = sum(row.held for row in rows)
    state = flow_state(counts, held)
    jobs = connection.execute(_JOBS, {"id": flow_id, "limit": limit}).all()
    return FlowView(
        id=flow_id,
        name=connection.execute(_NAME, {"id": flow_id}).scalar(),
        state=state,
        counts=counts,
        held=held,
        created_at=min(row.created_at for row in rows),
        finished_at=max((row.finished_at for row in rows if row.finished_at), default=None)
        if state in TERMINAL
        else None,
        jobs=tuple(map(_flow_job, jobs)),
        has_more=sum(counts.values()) > len(jobs),
    )


def cancel_flow(connection: Connection, flow_id: UUID) -> None:
    """Cancel what has not ended. Raises ``FlowNotFound``, ``FlowConflict`` if all has."""
    if not connection.execute(_CANCEL, {"id": flow_id}).all():
        raise FlowConflict(str(flow_id), read_flow(connection, flow_id).state, "cancel")


def retry_flow(connection: Connection, flow_id: UUID) -> Restarted:
    """Start anew what failed or was cancelled, each job once those that it waits for have ended.

    Raises ``FlowNotFound``, ``FlowConflict`` if there is nothing to start, ``UniqueKeyHeld``.
    """
    restarted = _restart(connection, flow_id)
    unconfirmed = connection.execute(_LOOK_ANEW, {"id": flow_id}).scalars().all()
    if not restarted and not unconfirmed:
        raise FlowConflict(str(flow_id), read_flow(connection, flow_id).state, "retry")
    due: dict[Lane, int] = {}
    for row in restarted:
        if row.held_by is None:
            lane = Lane(row.queue, Priority.from_rank(row.priority))
            due[lane] = due.get(lane, 0) + 1
    return Restarted(due, tuple(unconfirmed))


def forget_flows(connection: Connection, retention: float) -> int:
    """Forget the names of flows whose jobs have all been pruned; returns how many."""
    return connection.execute(_FORGET, {"retention": retention}).rowcount


def _restart(connection: Connection, flow_id: UUID) -> Sequence[Any]:
    try:
        with connection.begin_nested():
            return connection.execute(_RESTART, {"id": flow_id}).all()
    except IntegrityError as error:
        rival = connection.execute(_RIVAL, {"id": flow_id}).first()
        if rival is not None and rival.is_over:
            let_go(connection, [rival.id], None)
        if rival is None or rival.is_over:  # it has just ended, or its time with the key
            return _restart(connection, flow_id)
        raise UniqueKeyHeld(rival.unique_key, str(rival.id)) from error


def _flow_job(row: Any) -> FlowJob:
    return FlowJob(row.id, row.task, State(row.state), row.held_by, tuple(row.after))

"""Jobs that wait for others: how they are stored with their parents, and confirmed once both are committed.

A submit touches no parent's row, as it may be part of a transaction that stays open for long. So a child is stored
unconfirmed. After the commit a short transaction of ours locks it and its parents, and has it wait for those that have
not ended. What happens when they do, in the transaction that ends them, is in functions: ``migrations/0007``.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from steeple.domain.graph import beneath, in_circles
from steeple.domain.job import NewJob
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.domain.unique import TAKES_OVER
from steeple.errors import FieldError, InvalidJob
from steeple.store.inbox import MOST_AT_ONCE, insert_jobs
from steeple.store.inbox_answers import Accepted, Answer
from steeple.store.inbox_conflicts import Apart

# Which of some jobs do not exist, as far as this transaction can see.
_UNKNOWN = text("""
SELECT id FROM unnest(CAST(:ids AS uuid[])) AS wanted (id) WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.id = wanted.id)
""")

# Notes what jobs wait for. That it is there already means that this was done before, and the reply lost.
_INSERT = text("""
INSERT INTO job_parents (child_id, parent_id)
SELECT child_id, parent_id
FROM json_to_recordset(CAST(:edges AS json)) AS edge (child_id uuid, parent_id uuid)
ON CONFLICT DO NOTHING
""")

# Takes back jobs that were stored in this very transaction, as their parents were refused.
_TAKE_BACK = text("DELETE FROM jobs WHERE id = ANY (CAST(:ids AS uuid[]))")

# Has children wait for their parents; those whose parents have all ended are let go, or are dealt with as they wished.
_CONFIRM = text("""
SELECT lane_queue, lane_priority, due FROM steeple_confirm_children(CAST(:ids AS uuid[]))
""")

# Children that nobody has confirmed, the oldest first.
_UNCONFIRMED = text("""
SELECT id FROM (SELECT id FROM jobs WHERE state = 'PENDING' AND held_by = 'unconfirmed' OFFSET 0) AS unconfirmed
ORDER BY id LIMIT :limit
""")

# What became of a job's parents. One that is no longer kept has nothing but the state in which it ended.
_PARENTS = text("""
SELECT parent_id AS id, COALESCE(jobs.state, ended_as, 'CANCELLED') AS state, CAST(jobs.result AS text) AS result,
       CAST(jobs.error AS text) AS error
FROM job_parents LEFT JOIN jobs ON jobs.id = job_parents.parent_id
WHERE child_id = :id AND parent_id > :after ORDER BY parent_id LIMIT :limit
""")

# For which jobs one still waits: how many, and the first of them.
_AWAITED = text("""
SELECT (SELECT count(*) FROM job_parents WHERE child_id = :id AND ended_as IS NULL) AS total,
       ARRAY(
           SELECT parent_id FROM job_parents WHERE child_id = :id AND ended_as IS NULL ORDER BY parent_id LIMIT :limit
       ) AS first
""")

_EDGES_AT_ONCE = 10_000
_PARENTS_AT_ONCE = 500

CONFIRMED_AT_ONCE = 500
"""Jobs whose rows, and those of their parents, are locked together."""


@dataclass(frozen=True)
class ParentView:
    """A parent as its child sees it. ``result`` and ``error`` are JSON text."""

    id: UUID
    state: State
    result: str | None
    error: str | None


@dataclass(frozen=True)
class Awaited:
    """The jobs for which another still waits: ``total`` of them, and the ``first`` few."""

    total: int
    first: tuple[UUID, ...]


def insert_some(
    connection: Connection, jobs: Sequence[NewJob], *, now: datetime | None = None, apart: Apart | None = None
) -> list[Answer]:
    """``insert_jobs`` for any number of jobs that may have parents, among themselves too, in any order.

    ``InvalidJob`` answers to a job that waits for one that does not exist or was refused, or for itself in the end; and
    to one with parents that would take another's place.
    """
    has_parents = any(job.after for job in jobs)
    refused = _fatherless(connection, jobs) | _circular(jobs) | _overbearing(jobs) if has_parents else {}
    answers: dict[UUID, Answer] = dict(refused)
    left = [job for job in jobs if job.id not in refused]
    for start in range(0, len(left), MOST_AT_ONCE):
        part = left[start : start + MOST_AT_ONCE]
        answers |= zip((job.id for job in part), insert_jobs(connection, part, now=now, apart=apart), strict=True)
    if has_parents:
        _take_back_beneath_refused(connection, jobs, answers)
        _insert_edges(connection, jobs, answers)
    return [answers[job.id] for job in jobs]


def insert_all(connection: Connection, jobs: Sequence[NewJob]) -> list[Answer]:
    """``insert_some``, but if one is refused, the transaction is rolled back."""
    answers = insert_some(connection, jobs)
    if not all(isinstance(answer, Accepted) for answer in answers):
        connection.rollback()
    return answers


def unconfirmed(connection: Connection, *, limit: int = CONFIRMED_AT_ONCE) -> list[UUID]:
    """Jobs whose submitter has not come to confirm them."""
    return list(connection.execute(_UNCONFIRMED, {"limit": limit}).scalars())


def confirm(connection: Connection, ids: Sequence[UUID]) -> dict[Lane, int]:
    """Have these jobs wait for their parents; how many are due at once, by lane. May be done again by anybody."""
    due: dict[Lane, int] = {}
    for start in range(0, len(ids), CONFIRMED_AT_ONCE):
        for row in connection.execute(_CONFIRM, {"ids": list(ids[start : start + CONFIRMED_AT_ONCE])}):
            lane = Lane(row.lane_queue, Priority.from_rank(row.lane_priority))
            due[lane] = due.get(lane, 0) + row.due
    return due


def read_parents(connection: Connection, job_id: UUID) -> list[ParentView]:
    """What became of the jobs for which this one waited, some at a time: their results may be large."""
    found: list[ParentView] = []
    while True:
        after = found[-1].id if found else UUID(int=0)
        rows = connection.execute(_PARENTS, {"id": job_id, "after": after, "limit": _PARENTS_AT_ONCE}).all()
        found += [ParentView(row.id, State(row.state), row.result, row.error) for row in rows]
        if len(rows) < _PARENTS_AT_ONCE:
            return found


def read_awaited(connection: Connection, job_id: UUID, *, limit: int = 20) -> Awaited:
    """The parents of a job that have not ended: why it does not run."""
    row = connection.execute(_AWAITED, {"id": job_id, "limit": limit}).one()
    return Awaited(row.total, tuple(row.first))


def _circular(jobs: Sequence[NewJob]) -> dict[UUID, InvalidJob]:
    circles = in_circles({job.id: job.after for job in jobs if job.after})
    return {job.id: _refusal(job, circles, "waits for this very job in the end") for job in jobs if job.id in circles}


def _overbearing(jobs: Sequence[NewJob]) -> dict[UUID, InvalidJob]:
    """What is replaced or pushed back has its own parents, or none."""
    detail = "a job with `after` can only have `reject` or `existing`"
    return {
        job.id: InvalidJob([FieldError("/on_conflict", detail)])
        for job in jobs
        if job.after and job.on_conflict in TAKES_OVER
    }


def _fatherless(connection: Connection, jobs: Sequence[NewJob]) -> dict[UUID, InvalidJob]:
    wanted = {parent for job in jobs for parent in job.after}.difference(job.id for job in jobs)
    unknown = set(connection.execute(_UNKNOWN, {"ids": list(wanted)}).scalars()) if wanted else set()
    return {job.id: _refusal(job, unknown, "there is no such job") for job in jobs if not unknown.isdisjoint(job.after)}


def _refusal(job: NewJob, parents: Collection[UUID], detail: str) -> InvalidJob:
    return InvalidJob(
        [FieldError(f"/after/{place}", detail) for place, each in enumerate(job.after) if each in parents]
    )


def _take_back_beneath_refused(connection: Connection, jobs: Sequence[NewJob], answers: dict[UUID, Answer]) -> None:
    """Without those a job might wait for, it would not be what was asked for."""
    refused = {job_id for job_id, answer in answers.items() if not isinstance(answer, Accepted)}
    lost = beneath({job.id: job.after for job in jobs}, refused) - refused if refused else set()
    gone = [job for job in jobs if job.id in lost and _is_new(job, answers)]
    for job in gone:
        answers[job.id] = _refusal(job, refused | lost, "that job is refused itself")
    if gone:
        connection.execute(_TAKE_BACK, {"ids": [job.id for job in gone]})


def _insert_edges(connection: Connection, jobs: Sequence[NewJob], answers: Mapping[UUID, Answer]) -> None:
    edges = [
        {"child_id": str(job.id), "parent_id": str(_stored(parent, answers))}
        for job in jobs
        if job.after and _is_new(job, answers)
        for parent in job.after
    ]
    for start in range(0, len(edges), _EDGES_AT_ONCE):
        connection.execute(_INSERT, {"edges": json.dumps(edges[start : start + _EDGES_AT_ONCE])})


def _is_new(job: NewJob, answers: Mapping[UUID, Answer]) -> bool:
    answer = answers[job.id]
    return isinstance(answer, Accepted) and not answer.is_replay and answer.id == job.id


def _stored(parent: UUID, answers: Mapping[UUID, Answer]) -> UUID:
    """The job that a parent of the same batch came to: an earlier one's, perhaps."""
    answer = answers.get(parent)
    return answer.id if isinstance(answer, Accepted) else parent

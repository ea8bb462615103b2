"""Operations as they are kept: made, read, worked off a batch at a time, aborted.

An operation goes down the jobs that match, from the newest to the oldest, and keeps in its row how far it has come. A
batch and that mark are one transaction, so each job is acted on once, whoever works it off and whoever dies at it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.job import Idempotency
from steeple.domain.operation import Action, OperationState, Order, Skip, is_covered
from steeple.domain.priority import Priority
from steeple.errors import OperationKeyReused, OperationNotFound, OperationOver
from steeple.store.bulk import act
from steeple.store.finding import hold_matching
from steeple.store.job_filters import COUNT_SECONDS, count_in_time, filter_document, read_filter
from steeple.store.listing import JobFilter, find_ids, match_parameters, top_of
from steeple.store.skips import add_missing, add_skips

# Makes an operation, unless its idempotency key or its id has been used.
_INSERT = text("""
INSERT INTO operations (id, action, filter, changes, state, total, before, created_at, finished_at,
                        idempotency_owner, idempotency_key, request_hash)
VALUES (
    :id, :action, CAST(:filter AS json), CAST(:changes AS json),
    CASE WHEN CAST(:total AS bigint) = 0 THEN 'DONE' ELSE 'PENDING' END, CAST(:total AS bigint), :before, :made_at,
    CASE WHEN CAST(:total AS bigint) = 0 THEN CAST(:made_at AS timestamptz) END,
    :owner, :key, CAST(:request_hash AS bytea)
)
ON CONFLICT DO NOTHING
""")

# When this transaction began: jobs that are made later are not covered.
_CLOCK = text("SELECT COALESCE(CAST(:now AS timestamptz), now())")

# What a request that is repeated made before.
_EARLIER = text("""
SELECT id, request_hash FROM operations
WHERE id = :id OR (idempotency_owner = CAST(:owner AS text) AND idempotency_key = CAST(:key AS text))
""")

# An operation as it is shown.
_SHOWN = text("""
SELECT id, action, CAST(filter AS text) AS filter, CAST(changes AS text) AS changes, state, done, skipped, total,
       COALESCE(CAST(skips AS text), '[]') AS skips, created_at, started_at, finished_at
FROM operations WHERE id = :id
""")

# Operations, newest first.
_PAGE = text("""
SELECT id, action, CAST(filter AS text) AS filter, CAST(changes AS text) AS changes, state, done, skipped, total,
       COALESCE(CAST(skips AS text), '[]') AS skips, created_at, started_at, finished_at
FROM operations
WHERE (CAST(:before AS uuid) IS NULL OR id < CAST(:before AS uuid))
  AND (CAST(:states AS text[]) IS NULL OR state = ANY (CAST(:states AS text[])))
ORDER BY id DESC LIMIT :limit
""")

# The operation that has waited longest for its next batch, and that nobody is at.
_NEXT = text("""
SELECT id FROM operations WHERE state IN ('PENDING', 'RUNNING') AND next_at <= now()
ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
""")

# Takes an operation for a batch, unless somebody is at it or it is over.
_TAKE = text("""
SELECT id, action, filter, changes, done, skipped, total, skips, before, created_at FROM operations
WHERE id = :id AND state IN ('PENDING', 'RUNNING') FOR UPDATE SKIP LOCKED
""")

# Notes what a batch did, and how far the operation has come.
_NOTE = text("""
UPDATE operations SET
    state = :state, done = :done, skipped = :skipped, total = :total, skips = CAST(:skips AS json), before = :before,
    next_at = clock_timestamp(), started_at = COALESCE(started_at, now()),
    finished_at = CASE WHEN CAST(:state AS text) = 'DONE' THEN clock_timestamp() END
WHERE id = :id
""")

# Puts an operation off, for one that cannot go on just now.
_POSTPONE = text("""
UPDATE operations SET next_at = now() + CAST(:seconds AS float8) * interval '1 s'
WHERE id = :id AND state IN ('PENDING', 'RUNNING')
""")

# Ends an operation; waits for the batch that is under way.
_ABORT = text("""
UPDATE operations SET state = 'ABORTED', finished_at = now() WHERE id = :id AND state IN ('PENDING', 'RUNNING')
""")

# Forgets operations that have long been over.
_FORGET = text("""
DELETE FROM operations WHERE finished_at < now() - CAST(:retention AS float8) * interval '1 s'
""")

_AT_ONCE = timedelta(microseconds=1)
"""The least step of time that is stored."""

_SEARCH_SECONDS = 0.25
"""Whoever works an operation off has other things to look after, too."""


@dataclass(frozen=True)
class NewOperation:
    id: UUID
    order: Order
    wanted: JobFilter
    idempotency: Idempotency | None = None


@dataclass(frozen=True)
class OperationView:
    """An operation as it is shown. ``filter``, ``changes`` and ``skips`` are JSON text."""

    id: UUID
    action: Action
    filter: str
    changes: str | None
    state: OperationState
    done: int
    skipped: int
    total: int | None
    skips: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class Made:
    """``is_replay`` if an earlier request with the same idempotency key made it."""

    operation: OperationView
    is_replay: bool = False


@dataclass(frozen=True)
class Progress:
    """The operation after a batch, for which so many jobs were looked at."""

    operation: OperationView
    looked_at: int


def make_operation(
    connection: Connection, new: NewOperation, *, patience: float = COUNT_SECONDS, now: datetime | None = None
) -> Made:
    """Store an operation, to be worked off. Counts for ``patience`` seconds what it covers. Needs a transaction.

    Safe to repeat with the same id. Raises ``OperationKeyReused``.
    """
    earlier = _earlier(connection, new)
    if earlier is None:
        made_at = connection.execute(_CLOCK, {"now": now}).scalar_one()
        covered = {
            "before": top_of(connection, new.wanted),
            "total": count_in_time(connection, _until(new.wanted, made_at), patience),
            "made_at": made_at,
        }
        if connection.execute(_INSERT, _row(new) | covered).rowcount:
            return Made(read_operation(connection, new.id))
        earlier = _earlier(connection, new)
        assert earlier is not None
    return Made(read_operation(connection, earlier), is_replay=earlier != new.id)


def _earlier(connection: Connection, new: NewOperation) -> UUID | None:
    key = new.idempotency
    given = {"id": new.id, "owner": key and key.owner, "key": key and key.key}
    row = connection.execute(_EARLIER, given).first()
    if row is not None and key is not None and row.request_hash != key.request_hash:
        raise OperationKeyReused(key.key, str(row.id))
    return None if row is None else row.id


def _row(new: NewOperation) -> dict[str, Any]:
    changes = _changes_document(new.order)
    key = new.idempotency
    return {
        "id": new.id,
        "action": new.order.action.value,
        "filter": json.dumps(filter_document(new.wanted)),
        "changes": json.dumps(changes) if changes else None,
        "owner": key and key.owner,
        "key": key and key.key,
        "request_hash": key and key.request_hash,
    }


def read_operation(connection: Connection, operation_id: UUID) -> OperationView:
    """Raises ``OperationNotFound``."""
    row = connection.execute(_SHOWN, {"id": operation_id}).first()
    if row is None:
        raise OperationNotFound(str(operation_id))
    return _view(row)


def read_operations(
    connection: Connection, *, limit: int, before: UUID | None = None, states: tuple[OperationState, ...] = ()
) -> list[OperationView]:
    """Up to ``limit`` operations with ids before ``before``, newest first."""
    given = {"limit": limit, "before": before, "states": [state.value for state in states] or None}
    return [_view(row) for row in connection.execute(_PAGE, given)]


def abort_operation(connection: Connection, operation_id: UUID) -> OperationView:
    """End an operation: from then on it acts on no job. Safe to repeat.

    Raises ``OperationNotFound``, ``OperationOver`` if it is done.
    """
    connection.execute(_ABORT, {"id": operation_id})
    found = read_operation(connection, operation_id)
    if found.state is not OperationState.ABORTED:
        raise OperationOver(str(operation_id), found.state.value)
    return found


def next_operation(connection: Connection) -> UUID | None:
    """The operation whose turn it is, None if there is none."""
    return connection.execute(_NEXT).scalar()


def postpone(connection: Connection, operation_id: UUID, seconds: float) -> None:
    """Let others have their turn for so long."""
    connection.execute(_POSTPONE, {"id": operation_id, "seconds": seconds})


def forget_operations(connection: Connection, retention: float) -> int:
    """Delete operations that were over ``retention`` seconds ago; returns how many."""
    return connection.execute(_FORGET, {"retention": retention}).rowcount


def advance(connection: Connection, operation_id: UUID, *, limit: int, now: datetime | None = None) -> Progress | None:
    """Act on up to ``limit`` of the jobs that an operation covers. Needs a transaction.

    None if somebody else is at it, or it is over.
    """
    row = connection.execute(_TAKE, {"id": operation_id}).first()
    if row is None:
        return None
    wanted = _until(read_filter(row.filter), row.created_at)
    found = find_ids(connection, wanted, limit=limit, before=row.before, patience=_SEARCH_SECONDS)
    held = hold_matching(connection, match_parameters(wanted), found.ids)
    jobs = [job for job in held if is_covered(job, wanted.states, row.created_at)]
    batch = act(connection, _order(row), jobs, row.created_at, now=now)
    done, skipped = row.done + batch.done, row.skipped + len(batch.skipped)
    noted = {"done": done, "skipped": skipped, "total": row.total, "skips": add_skips(row.skips or (), batch.skipped)}
    if found.horizon is None:
        noted = _completed(noted)
    _note(connection, row.id, noted, found.horizon)
    return Progress(read_operation(connection, row.id), len(found.ids))


def _completed(noted: Mapping[str, Any]) -> dict[str, Any]:
    """With the jobs that matched when it was made, and no longer did when it came to them: now it can be told."""
    looked_at = noted["done"] + noted["skipped"]
    missing = max(0, (noted["total"] or 0) - looked_at)
    return {
        **noted,
        "total": looked_at + missing,
        "skipped": noted["skipped"] + missing,
        "skips": add_missing(noted["skips"], Skip.NO_LONGER_MATCHED, missing),
    }


def _note(connection: Connection, operation_id: UUID, noted: Mapping[str, Any], before: UUID | None) -> None:
    state = OperationState.RUNNING if before is not None else OperationState.DONE
    given = {**noted, "skips": json.dumps(noted["skips"]), "id": operation_id, "state": state.value, "before": before}
    connection.execute(_NOTE, given)


def _until(wanted: JobFilter, made_at: datetime) -> JobFilter:
    """Which jobs an operation covers: those that match, of the jobs that were there when it was made."""
    end = made_at + _AT_ONCE
    return replace(wanted, created_before=min(wanted.created_before or end, end))


def _order(row: Row[Any]) -> Order:
    changes = row.changes or {}
    priority = changes.get("priority")
    return Order(Action(row.action), None if priority is None else Priority(priority), changes.get("queue"))


def _changes_document(order: Order) -> dict[str, str]:
    given = {"priority": order.priority and order.priority.value, "queue": order.queue}
    return {name: value for name, value in given.items() if value is not None}


def _view(row: Row[Any]) -> OperationView:
    known = row._mapping
    return OperationView(**{**known, "action": Action(row.action), "state": OperationState(row.state)})

"""Works operations off, a batch at a time. The next ``wake_due`` wakes the lanes in which jobs have come to be due."""

from functools import partial
from time import monotonic
from uuid import UUID

from steeple.domain.operation import OVER
from steeple.domain.pacing import next_claim_size
from steeple.store import operations
from steeple.store.engine import DatabaseError, Engine, briefly, in_transaction, is_repeatable
from steeple.telemetry import events

_PAUSE_SECONDS = 1.0
_BETWEEN_BATCHES_SECONDS = 0.005
"""Leaves the database to others between two batches."""

_FIRST_BATCH = 100
_LARGEST_BATCH = 2000
_LOCK_SECONDS = 0.5
"""For a lock. Shorter than it takes PostgreSQL to look for a deadlock, which might end somebody else's transaction."""

_SLOW_SECONDS = 1.0
_HELD_UP_SECONDS = 2.0
_FAILED_SECONDS = 30.0
_SHRINKS = 4


class Operate:
    """A tick. ``single`` commits each statement by itself.

    Batches are as large as can be done in a moment: while one is, nobody else gets at its jobs. An operation that
    cannot go on lets the others have their turn.
    """

    def __init__(self, engine: Engine, single: Engine) -> None:
        self._engine = engine
        self._single = single
        self._size = _FIRST_BATCH

    def __call__(self) -> float:
        operation_id = in_transaction(self._single, operations.next_operation)
        if operation_id is None:
            return _PAUSE_SECONDS
        try:
            self._advance(operation_id)
        except DatabaseError as error:
            self._postpone(operation_id, error)
        return _BETWEEN_BATCHES_SECONDS

    def _advance(self, operation_id: UUID) -> None:
        began = monotonic()
        progress = briefly(
            self._engine,
            partial(operations.advance, operation_id=operation_id, limit=self._size),
            lock_timeout=_LOCK_SECONDS,
        )
        if progress is None:
            return
        took = monotonic() - began
        if progress.looked_at == self._size or took > _SLOW_SECONDS:
            self._size = next_claim_size(self._size, took, _LARGEST_BATCH)
        if progress.operation.state in OVER:
            found = progress.operation
            events.operation_done(found.id, found.action.value, done=found.done, skipped=found.skipped)

    def _postpone(self, operation_id: UUID, error: DatabaseError) -> None:
        """Raises what is not for now only. What was too much for a batch may do in a smaller one."""
        self._size = max(1, self._size // _SHRINKS)
        is_for_now = is_repeatable(error)
        pause = _HELD_UP_SECONDS if is_for_now else _FAILED_SECONDS
        in_transaction(self._single, partial(operations.postpone, operation_id=operation_id, seconds=pause))
        if not is_for_now:
            raise error
        events.operation_held_up(operation_id, error)

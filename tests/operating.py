"""Operations in a playground: made, worked off batch by batch, looked at."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from playground import Playground
from steeple.domain.operation import OVER, Action, Order
from steeple.domain.priority import Priority
from steeple.store import operations
from steeple.store.listing import JobFilter
from steeple.store.operations import Made, NewOperation, OperationView, Progress

CANCEL, RETRY, DELETE = Order(Action.CANCEL), Order(Action.RETRY), Order(Action.DELETE)
RAISE = Order(Action.REPRIORITISE, priority=Priority.HIGH)
MOVE = Order(Action.MOVE, queue="elsewhere")
OF_TASK = JobFilter(tasks=("t",))

TODAY = datetime.now(UTC).replace(microsecond=0)
"""Ids are made by the real clock, and jobs are looked for near the time at which they were made."""

LATER = TODAY + timedelta(hours=1)


def today(seconds: float) -> datetime:
    return TODAY + timedelta(seconds=seconds)


class Operating:
    """``now``: when operations are made, and when jobs are acted on; None is the real time."""

    def __init__(self, playground: Playground, now: datetime | None = None) -> None:
        self._playground = playground
        self._now = now

    def make(
        self,
        order: Order,
        wanted: JobFilter = OF_TASK,
        *,
        patience: float = 5.0,
        now: datetime | None = None,
        **fields: Any,
    ) -> Made:
        with self._playground.engine.begin() as connection:
            new = NewOperation(fields.pop("id", uuid7()), order, wanted, **fields)
            return operations.make_operation(connection, new, patience=patience, now=now or self._now)

    def made(self, order: Order, wanted: JobFilter = OF_TASK, **fields: Any) -> UUID:
        """Its id."""
        return self.make(order, wanted, **fields).operation.id

    def advance(self, operation_id: UUID, limit: int = 100) -> Progress | None:
        with self._playground.engine.begin() as connection:
            return operations.advance(connection, operation_id, limit=limit, now=self._now)

    def read(self, operation_id: UUID) -> OperationView:
        with self._playground.engine.begin() as connection:
            return operations.read_operation(connection, operation_id)

    def finish(self, operation_id: UUID, limit: int = 100) -> OperationView:
        """Work it off; it has to end."""
        for _ in range(100):
            found = self.read(operation_id)
            if found.state in OVER:
                return found
            self.advance(operation_id, limit)
        raise AssertionError("it does not end")

    def run(self, order: Order, wanted: JobFilter = OF_TASK, limit: int = 100) -> OperationView:
        return self.finish(self.made(order, wanted), limit)


def skips(found: OperationView) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(found.skips)
    return entries


def reasons(found: OperationView) -> Mapping[str, int]:
    """How many jobs were skipped for which reason."""
    return {each["reason"]: each["jobs"] for each in skips(found)}

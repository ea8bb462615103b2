"""The calls about operations, one action on every job that matches: as in ``wire``, built and read without I/O."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from steeple.client.encoding import encoded
from steeple.client.errors import ApiError, OperationNotFound, OperationTimeout
from steeple.client.models import Operation, OperationPage, OperationPreview
from steeple.client.wire import PAGE_SIZE, Reply, Request

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0
_GROWTH = 1.5


@dataclass(frozen=True)
class OperationRequest(Request[T]):
    """A call about one operation."""

    operation_id: str = ""

    def read(self, reply: Reply) -> T:
        try:
            return super().read(reply)
        except ApiError as error:
            if error.problem.type.endswith("/operation-not-found"):
                raise OperationNotFound(error.status, error.problem, self.operation_id) from None
            raise


def operate(
    action: str,
    filters: Mapping[str, Any],
    changes: Mapping[str, str] | None,
    *,
    everything: bool,
    idempotency_key: str | None,
) -> Request[Operation]:
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    body = _body(action, filters, changes, everything)
    return Request(
        "POST", "/v1/operations", Operation.model_validate_json, (), headers, encoded(body), is_repeatable=True
    )


def preview(
    action: str, filters: Mapping[str, Any], changes: Mapping[str, str] | None, *, everything: bool
) -> Request[OperationPreview]:
    body = encoded(_body(action, filters, changes, everything) | {"dry_run": True})
    return Request("POST", "/v1/operations", OperationPreview.model_validate_json, body=body, is_repeatable=True)


def get(operation_id: str) -> Request[Operation]:
    path = _path(operation_id)
    return OperationRequest("GET", path, Operation.model_validate_json, is_repeatable=True, operation_id=operation_id)


def abort(operation_id: str) -> Request[Operation]:
    path = _path(operation_id, "/abort")
    return OperationRequest("POST", path, Operation.model_validate_json, is_repeatable=True, operation_id=operation_id)


@dataclass(frozen=True)
class OperationListing:
    """A walk over the pages of the list of operations, ``remaining`` of them far; None is to the end."""

    remaining: int | None = None
    states: Sequence[str] = ()
    cursor: str | None = None

    @classmethod
    def of(cls, limit: int | None, state: str | Sequence[str]) -> Self | None:
        states = (state,) if isinstance(state, str) else tuple(state)
        return cls(limit, states) if limit is None or limit > 0 else None

    def request(self) -> Request[OperationPage]:
        size = PAGE_SIZE if self.remaining is None else min(PAGE_SIZE, self.remaining)
        query = [*(("state", state) for state in self.states), ("limit", str(size))]
        if self.cursor is not None:
            query.append(("cursor", self.cursor))
        return Request("GET", "/v1/operations", OperationPage.model_validate_json, query, is_repeatable=True)

    def after(self, page: OperationPage) -> Self | None:
        """Where the walk goes on after ``page``, None where it ends."""
        remaining = None if self.remaining is None else self.remaining - len(page.operations)
        if page.next_cursor is None or (remaining is not None and remaining <= 0):
            return None
        return replace(self, remaining=remaining, cursor=page.next_cursor)


@dataclass(frozen=True)
class OperationWaiting:
    """A wait for the end of an operation, from ``since`` on (a monotonic clock's seconds); ``timeout`` None is forever.

    It asks again and again, ever more rarely: an operation takes a moment or minutes.
    """

    operation_id: str
    timeout: float | None
    since: float
    pause: float = _FIRST_PAUSE

    def request(self) -> Request[Operation]:
        return get(self.operation_id)

    def is_over(self, operation: Operation, now: float) -> bool:
        """True if it has ended. Raises ``OperationTimeout`` if it has not, and the time is up."""
        if not operation.is_finished and self.timeout is not None and now >= self.since + self.timeout:
            raise OperationTimeout(operation, self.timeout)
        return operation.is_finished

    def longer(self) -> Self:
        return replace(self, pause=min(_LONGEST_PAUSE, self.pause * _GROWTH))


def _body(
    action: str, filters: Mapping[str, Any], changes: Mapping[str, str] | None, everything: bool
) -> dict[str, Any]:
    given = {name: _listed(value) for name, value in filters.items() if value is not None}
    body: dict[str, Any] = {"action": action, "filter": given}
    if changes is not None:
        body["set"] = dict(changes)
    if everything:
        body["all"] = True
    return body


def _listed(value: object) -> object:
    """Any collection of values as JSON has it."""
    return list(value) if isinstance(value, tuple | set | frozenset) else value


def _path(operation_id: str, action: str = "") -> str:
    if not re.fullmatch(r"[0-9A-Za-z-]+", operation_id):
        raise ValueError(f"{operation_id!r} is not the id of an operation")
    return f"/v1/operations/{operation_id}{action}"

"""RFC 9457 problem documents, and which one an error becomes: the only place that maps errors to statuses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from steeple import errors
from steeple.api.problem_kinds import Kind
from steeple.api.strict_json import NotJson, UnacceptableJson
from steeple.api.wording import plain
from steeple.errors import FieldError
from steeple.faults import token
from steeple.store.engine import DatabaseError, is_data_error, is_unavailable

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 100
_RETRY_AFTER = "1"


@dataclass(frozen=True)
class Fault:
    """Where a request is at fault. ``within`` is None for the body, or ``query``, ``path``, ``header``."""

    pointer: str
    detail: str
    within: str | None = None

    @classmethod
    def of(cls, error: FieldError) -> "Fault":
        return cls(error.pointer, plain(error.detail))

    def document(self) -> dict[str, str]:
        found = {"pointer": self.pointer, "detail": self.detail}
        return found if self.within is None else found | {"in": self.within}


@dataclass(frozen=True)
class Problem:
    """What is wrong with a request, or with us. ``members`` are facts that a program may want."""

    kind: Kind
    detail: str
    faults: tuple[Fault, ...] = ()
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, request_id: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = {
            "type": self.kind.path,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        if request_id is not None:
            found["request_id"] = request_id
        if self.faults:
            found["errors"] = [fault.document() for fault in self.faults[:_MOST_ERRORS]]
        return found | dict(self.members)

    def response(self, request_id: str) -> Response:
        # As ASCII: whatever came in with the request, it can be sent back.
        body = json.dumps(self.document(request_id)).encode("ascii")
        headers = {"Cache-Control": "no-store", **self.headers}
        if self.kind.status in (429, 503):
            headers.setdefault("Retry-After", _RETRY_AFTER)
        return Response(body, self.kind.status, headers, MEDIA_TYPE)


class Refusal(Exception):
    """A request that the API refuses before the domain has a say."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def refusal(kind: Kind, detail: str, *faults: Fault, **members: Any) -> Refusal:
    return Refusal(Problem(kind, detail, faults, members))


def problem_of(error: BaseException) -> Problem | None:
    """The problem that an error is to the client; None if it is a fault of Steeple's own."""
    match error:
        case Refusal():
            return error.problem
        case NotJson():
            faults = (Fault(error.pointer, error.detail),) if error.pointer else ()
            return Problem(Kind.NOT_JSON, error.detail, faults)
        case UnacceptableJson():
            return _at_fault(Kind.INVALID_REQUEST, error.faults)
        case errors.SteepleError():
            return _of_steeple_error(error)
        case RequestValidationError():
            return _of_validation_error(error)
        case HTTPException():
            return _of_http_exception(error)
    if is_unavailable(error):
        return Problem(Kind.UNAVAILABLE, "the database does not answer; what was asked for may not have been done")
    if isinstance(error, DatabaseError) and is_data_error(error):
        return Problem(Kind.INVALID_REQUEST, "a value that the database cannot hold")
    return None


def _of_steeple_error(error: errors.SteepleError) -> Problem | None:
    match error:
        case errors.UnknownTask():
            detail = f"no task named {error.task[:200]!r} is registered"
            return Problem(Kind.UNKNOWN_TASK, detail, (Fault("/task", detail),))
        case errors.InvalidArguments():
            return _at_fault(Kind.INVALID_ARGUMENTS, error.errors)
        case errors.InvalidJob():
            return _at_fault(Kind.INVALID_REQUEST, error.errors)
        case errors.TooLarge():
            return Problem(Kind.TOO_LARGE, str(error), (Fault(f"/{error.what}", str(error)),))
        case errors.JobNotFound():
            return Problem(Kind.JOB_NOT_FOUND, str(error))
        case errors.FlowNotFound():
            return Problem(Kind.FLOW_NOT_FOUND, str(error))
        case errors.FlowConflict():
            facts = {"flow_id": error.flow_id, "state": error.state}
            return Problem(Kind.FLOW_CONFLICT, str(error), members=facts)
        case errors.StateConflict():
            facts = {"job_id": error.job_id, "state": error.state}
            return Problem(Kind.STATE_CONFLICT, str(error), members=facts)
        case errors.UniqueKeyHeld():
            detail = str(error)
            return Problem(Kind.UNIQUE_KEY_HELD, detail, (Fault("/unique_key", detail),), {"job_id": error.job_id})
        case errors.IdempotencyKeyReused():
            return _key_reused(f"job {error.job_id}", {"job_id": error.job_id})
        case errors.OperationNotFound():
            return Problem(Kind.OPERATION_NOT_FOUND, str(error))
        case errors.OperationOver():
            facts = {"operation_id": error.operation_id, "state": error.state}
            return Problem(Kind.STATE_CONFLICT, str(error), members=facts)
        case errors.OperationKeyReused():
            return _key_reused(f"operation {error.operation_id}", {"operation_id": error.operation_id})
    return _of_schedules(error)


def _of_schedules(error: errors.SteepleError) -> Problem | None:
    match error:
        case errors.InvalidSchedule():
            return _at_fault(Kind.INVALID_REQUEST, error.errors)
        case errors.ScheduleNotFound():
            return Problem(Kind.SCHEDULE_NOT_FOUND, str(error))
        case errors.ScheduleNameTaken():
            faults = (Fault("/name", str(error)),)
            return Problem(Kind.SCHEDULE_NAME_TAKEN, str(error), faults, {"schedule_id": error.schedule_id})
        case errors.ScheduleIsCode():
            return Problem(Kind.SCHEDULE_IS_CODE, str(error), members={"schedule_id": error.schedule_id})
        case errors.ScheduleChanged():
            facts = {"schedule_id": error.schedule_id, "version": error.version}
            return Problem(Kind.PRECONDITION_FAILED, str(error), members=facts)
    return None


def _key_reused(made: str, members: Mapping[str, str]) -> Problem:
    """Without the key, which may be known to nobody else."""
    fault = Fault("/Idempotency-Key", "came with another body before", "header")
    detail = f"the Idempotency-Key came with another body before, which made {made}"
    return Problem(Kind.IDEMPOTENCY_KEY_REUSED, detail, (fault,), members)


def _at_fault(kind: Kind, found: Sequence[FieldError]) -> Problem:
    faults = tuple(map(Fault.of, found))
    first = "; ".join(f"{fault.pointer or 'the body'}: {fault.detail}" for fault in faults[:3])
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return Problem(kind, first + more, faults)


def _of_validation_error(error: RequestValidationError) -> Problem:
    """FastAPI's own findings: of the query and the path, as it reads no body here."""
    faults = tuple(
        Fault("".join(map(token, found["loc"][1:])), plain(found["msg"]), str(found["loc"][0]))
        for found in error.errors()
    )
    detail = "; ".join(f"{fault.within} {fault.pointer[1:]}: {fault.detail}" for fault in faults[:3])
    return Problem(Kind.INVALID_REQUEST, detail, faults)


def _of_http_exception(error: HTTPException) -> Problem:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return Problem(Kind.NOT_FOUND, "no operation of the API has this path; see /docs")
        case 405:
            return Problem(Kind.METHOD_NOT_ALLOWED, f"this path knows {headers.get('Allow')}", headers=headers)
        case 413:
            return Problem(Kind.TOO_LARGE, str(error.detail))
        case 503:
            return Problem(Kind.UNAVAILABLE, str(error.detail), headers=headers)
    return Problem(Kind.INVALID_REQUEST, str(error.detail), headers=headers)

"""From the text of a request to what becomes of a schedule: read strictly, checked by its task, for the version that
the client means.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from steeple.api import strict_json
from steeple.api.bodies import apart
from steeple.api.schedule_requests import ScheduleChange, ScheduleRequest
from steeple.api.services import Services, services_of
from steeple.api.strict_json import UnacceptableJson
from steeple.domain.schedule import Definition
from steeple.errors import FieldError, InvalidSchedule, ScheduleChanged, TooLarge
from steeple.faults import field_errors
from steeple.scheduling import checked
from steeple.store.schedules import ScheduleView, read

_MOST_MEMBERS = 50
_RULES = frozenset({"cron", "interval", "times"})
_TRIES = 5
"""Each fails only if somebody else changes the schedule at that very moment."""

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


def read_body(text: str, model: type[M]) -> tuple[M, dict[str, str]]:
    """What is asked for, and the text of each member. Raises ``NotJson``, ``UnacceptableJson``, ``InvalidSchedule``."""
    members = strict_json.read_members(text)
    if members is None:
        raise UnacceptableJson([FieldError("", "is not an object")])
    if len(members) > _MOST_MEMBERS:
        raise UnacceptableJson([FieldError("", f"has more than {_MOST_MEMBERS} members")])
    try:
        return model.model_validate_json(text, strict=True), members
    except ValidationError as error:
        raise InvalidSchedule(field_errors(error, json.loads(text))) from None


def read_schedule(text: str) -> tuple[ScheduleRequest, str]:
    """The schedule that is asked for, and its arguments as they were sent."""
    asked, members = read_body(text, ScheduleRequest)
    return asked, members.get("args", "{}")


def read_change(text: str) -> tuple[ScheduleChange, str | None]:
    asked, members = read_body(text, ScheduleChange)
    return asked, members.get("args")


async def change_of(services: Services, old: Definition, asked: ScheduleChange, args: str | None) -> Definition:
    """The definition with what is asked for. Raises ``InvalidSchedule``, ``UnknownTask``, ``InvalidArguments``,
    ``TooLarge``.
    """
    fields = {name: getattr(asked, name) for name in asked.model_fields_set - {"args"}}
    if any(fields.get(rule) is not None for rule in _RULES):
        fields = dict.fromkeys(_RULES) | fields
    if fields.get("times") is not None:
        fields["times"] = tuple(sorted(set(fields["times"])))
    changed = checked(replace(old, **_with_args(fields, args)))
    if {"task", "args"} & asked.model_fields_set:
        await _require_fitting(services, changed)
    return changed


def _with_args(fields: dict[str, Any], args: str | None) -> dict[str, Any]:
    return fields if args is None else fields | {"args": args}


async def _require_fitting(services: Services, definition: Definition) -> None:
    size, limit = len(definition.args.encode()), services.settings.max_args_bytes
    if size > limit:
        raise TooLarge("args", size, limit)
    task = await services.tasks.find(definition.task)
    await apart(definition.args, task.check)


async def while_unchanged(request: Request, schedule_id: UUID, act: Callable[[ScheduleView, int], Awaitable[T]]) -> T:
    """What ``act`` does to the schedule as it is, of the version that ``If-Match`` names if there is such a header.

    Without one it is done again if somebody else was quicker. Raises ``ScheduleChanged``, ``ScheduleNotFound``.
    """
    wanted = request.headers.get("if-match")
    for left in range(_TRIES - 1, -1, -1):
        found = await services_of(request).reads.run(lambda connection: read(connection, schedule_id))
        if wanted is not None and not _matches(wanted, found.version):
            raise ScheduleChanged(str(schedule_id), found.version)
        try:
            return await act(found, found.version)
        except ScheduleChanged:
            if wanted is not None or not left:
                raise
    raise AssertionError("unreachable")


def _matches(wanted: str, version: int) -> bool:
    return wanted.strip() == "*" or f'"{version}"' in (each.strip() for each in wanted.split(","))

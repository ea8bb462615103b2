"""What requests for operations may hold. Nothing of a filter means every job by accident."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from steeple.api import strict_json
from steeple.api.requests import Moment, Text
from steeple.api.strict_json import UnacceptableJson
from steeple.domain.operation import Action, OperationState, Order
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.errors import FieldError, InvalidJob
from steeple.faults import field_errors
from steeple.store.listing import JobFilter
from steeple.submission import QueueName

_MOST_MEMBERS = 50
_MOST_VALUES = 1000
_SEVERAL = ("state", "task", "queue", "priority", "tag")
_SETS = {Action.REPRIORITISE: "priority", Action.MOVE: "queue"}

_EVERY_JOB = 'is empty, which stands for every job: name the jobs that are meant, or say so with "all": true'


def _as_sent(schema: dict[str, Any]) -> None:
    """Nothing is null, and one value need not be a list."""
    for name, member in schema["properties"].items():
        described = {"description": member["description"]} if "description" in member else {}
        (kept,) = (choice for choice in member.get("anyOf", [member]) if choice != {"type": "null"})
        kept = {key: value for key, value in kept.items() if key not in ("default", "description", "title")}
        schema["properties"][name] = described | ({"anyOf": [kept["items"], kept]} if name in _SEVERAL else kept)


class OperationFilter(BaseModel):
    """Which jobs to act on, by the names that the list's filters have. All of them must match."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_as_sent)

    state: Annotated[
        list[State], Field(min_length=1, max_length=_MOST_VALUES, description="One, or a list of which any matches.")
    ] = []
    task: Annotated[list[Text], Field(min_length=1, max_length=_MOST_VALUES)] = []
    queue: Annotated[list[Text], Field(min_length=1, max_length=_MOST_VALUES)] = []
    priority: Annotated[list[Priority], Field(min_length=1, max_length=_MOST_VALUES)] = []
    tag: Annotated[list[Text], Field(min_length=1, max_length=_MOST_VALUES)] = []
    created_after: Annotated[Moment | None, Field(description="At this time or later.")] = None
    created_before: Annotated[Moment | None, Field(description="Earlier than this time.")] = None
    q: Annotated[Text | None, Field(min_length=1, description="Text to look for, as in the list.")] = None

    @field_validator("*", mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        if value is None:
            raise ValueError("must not be null: leave it out, and it does not count")
        return value

    @field_validator(*_SEVERAL, mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        if not isinstance(value, str | list):
            raise ValueError("must be one value, or a list of values")
        return [value] if isinstance(value, str) else value

    def wanted(self) -> JobFilter:
        return JobFilter(
            states=tuple(self.state),
            tasks=tuple(self.task),
            queues=tuple(self.queue),
            priorities=tuple(self.priority),
            tags=tuple(self.tag),
            created_after=self.created_after,
            created_before=self.created_before,
            search=self.q,
        )


def _never_null(schema: dict[str, Any]) -> None:
    for name, member in schema["properties"].items():
        (schema["properties"][name],) = (choice for choice in member["anyOf"] if choice != {"type": "null"})


class OperationChange(BaseModel):
    """What is set: `priority` by `reprioritise`, `queue` by `move`."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_never_null)

    priority: Priority | None = None
    queue: QueueName | None = None


def _set_is_given(schema: dict[str, Any]) -> None:
    schema["properties"]["set"] = {"$ref": schema["properties"]["set"]["anyOf"][0]["$ref"]}
    schema["examples"] = [{"action": "cancel", "filter": {"task": "reports.render", "state": ["PENDING"]}}]


class OperationRequest(BaseModel):
    """One action on every job that matches a filter."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_set_is_given)

    action: Action
    filter: OperationFilter
    set: OperationChange | None = None
    all: Annotated[bool, Field(description="That an empty filter is meant: every job there is.")] = False
    dry_run: Annotated[bool, Field(description="Only count the jobs that match, and show some.")] = False


class OperationQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Annotated[list[OperationState], Field(description="May be repeated.")] = []
    limit: Annotated[int, Field(ge=1, description="Operations on a page; over 1000 it is 1000.")] = 50
    cursor: Annotated[str | None, Field(description="`next_cursor` of the page before, with the same filters.")] = None


@dataclass(frozen=True)
class AskedOperation:
    order: Order
    wanted: JobFilter
    is_dry_run: bool


def read_asked(text: str) -> AskedOperation:
    """The operation that a body asks for. Raises ``NotJson``, ``UnacceptableJson``, ``InvalidJob``."""
    members = strict_json.read_members(text)
    if members is None:
        raise UnacceptableJson([FieldError("", "is not an object")])
    if len(members) > _MOST_MEMBERS:
        raise UnacceptableJson([FieldError("", f"has more than {_MOST_MEMBERS} members")])
    try:
        asked = OperationRequest.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise InvalidJob(field_errors(error, json.loads(text))) from None
    faults = [*_faults_of_filter(asked), *_faults_of_change(asked)]
    if faults:
        raise InvalidJob(faults)
    change = asked.set or OperationChange()
    return AskedOperation(Order(asked.action, change.priority, change.queue), asked.filter.wanted(), asked.dry_run)


def _faults_of_filter(asked: OperationRequest) -> Iterator[FieldError]:
    is_empty = asked.filter.wanted() == JobFilter()
    if is_empty and not asked.all:
        yield FieldError("/filter", _EVERY_JOB)
    if asked.all and not is_empty:
        yield FieldError("/all", "goes with an empty filter only: leave one of them out")


def _faults_of_change(asked: OperationRequest) -> Iterator[FieldError]:
    wanted = _SETS.get(asked.action)
    given = {} if asked.set is None else asked.set.model_dump(exclude_none=True)
    if wanted is None:
        if asked.set is not None:
            yield FieldError("/set", f"is nothing that {asked.action.value} knows: leave it out")
        return
    if wanted not in given:
        yield FieldError("/set", f"is missing, and needed: {asked.action.value} sets {wanted}")
    for name in given.keys() - {wanted}:
        yield FieldError(f"/set/{name}", f"is not set by {asked.action.value}: leave it out")

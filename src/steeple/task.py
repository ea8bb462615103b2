"""A task: a registered function with its defaults, and its arguments as a type that checks and decodes JSON."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import (
    Annotated,
    Any,
    Generic,
    NotRequired,
    ParamSpec,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import ConfigDict, Field, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaSerializer
from pydantic_core.core_schema import CoreConfig
from typing_extensions import TypedDict

from steeple.context import Context
from steeple.domain.key_templates import names_in
from steeple.domain.priority import Priority, is_queue_name
from steeple.domain.retry import Retry
from steeple.errors import FieldError, InvalidArguments, TaskDefinitionError
from steeple.faults import field_errors, text_faults, token, value_faults
from steeple.plain_arguments import are_plain, encode_plain
from steeple.store.encoding import dump
from steeple.store.tasks import TaskRecord
from steeple.submission import LONGEST_SECONDS

P = ParamSpec("P")
R = TypeVar("R")

TASK_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.:-]{0,199}$"

_REFUSED = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only, and arguments of a job go by name",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of positions, and arguments of a job go by name",
}
_BY_POSITION = (inspect.Parameter.POSITIONAL_OR_KEYWORD,)
_AROUND_CONTEXT = (Union, UnionType, Annotated)

_CONFIG = ConfigDict(allow_inf_nan=False, val_json_bytes="base64", ser_json_bytes="base64", title="Arguments")
_WRITING = CoreConfig(ser_json_bytes="base64", ser_json_inf_nan="constants")
"""Infinities stay what they are, not null, so that they are found and refused."""


@dataclass(frozen=True)
class TaskDefaults:
    """What a job gets where its submitter says nothing; ``timeout`` is in seconds. Raises ``ValueError``.

    ``priority`` None: that of the queue.
    """

    queue: str
    priority: Priority | None
    retry: Retry
    timeout: float
    limits: tuple[str, ...] = ()
    fair_key: str | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.queue, str) and is_queue_name(self.queue)):
            raise ValueError(f"{self.queue!r} is not a queue's name")
        if not isinstance(self.retry, Retry):
            raise ValueError(f"retry is a steeple.Retry, not {self.retry!r}")
        is_number = isinstance(self.timeout, int | float) and not isinstance(self.timeout, bool)
        if not (is_number and 0 < self.timeout <= LONGEST_SECONDS):
            raise ValueError(f"timeout is a number of seconds over 0, ten years at the most, not {self.timeout!r}")
        for template in (*self.limits, *filter(None, [self.fair_key])):
            names_in(template)


class Task(Generic[P, R]):
    """A registered function. Calling it runs the function here and now; ``submit`` makes a job of it."""

    def __init__(self, function: Callable[P, R], name: str, defaults: TaskDefaults) -> None:
        if not re.fullmatch(TASK_NAME_PATTERN, name):
            raise TaskDefinitionError(f"{name!r} is not a task's name: letters, digits and . _ : -, 200 at the most")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TaskDefinitionError(f"{name}: a generator runs only when it is looped over: return a value instead")
        self.function = function
        self.name = name
        self.defaults = defaults
        self.is_async = inspect.iscoroutinefunction(function)
        self._signature = _Signature(function, name)
        self._require_arguments_of_keys()
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", name)
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def bind(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Call arguments by name. Raises ``InvalidArguments``."""
        return self._signature.bind(args, keywords)

    def encode(self, arguments: Mapping[str, Any]) -> str:
        """Arguments as JSON text, checked against the hints. Raises ``InvalidArguments``."""
        return self._signature.encode(arguments)

    def check(self, args: str) -> None:
        """Check JSON text against the hints. Raises ``InvalidArguments``."""
        self._signature.check(args)

    def decode(self, args: str, context: Callable[[], Context]) -> dict[str, Any]:
        """What to call the function with: JSON text as the hinted types, and a context if it wants one."""
        found = self._signature.decode(args)
        if self._signature.context_name is not None:
            found[self._signature.context_name] = context()
        return found

    def _require_arguments_of_keys(self) -> None:
        templates = (*self.defaults.limits, *filter(None, [self.defaults.fair_key]))
        needed = {argument for template in templates for argument in names_in(template)}
        if unknown := sorted(needed - self._signature.names):
            raise TaskDefinitionError(
                f"{self.name}: its keys name {', '.join(unknown)}, which is none of its parameters"
            )

    @cached_property
    def record(self) -> TaskRecord:
        """The task as other parts see it, without its code."""
        return TaskRecord(
            name=self.name,
            description=inspect.cleandoc(self.__doc__ or ""),
            schema=self._signature.schema,
            queue=self.defaults.queue,
            priority=self.defaults.priority or Priority.DEFAULT,
            names_priority=self.defaults.priority is not None,
            timeout=self.defaults.timeout,
            retry=self.defaults.retry,
            is_async=self.is_async,
            limits=self.defaults.limits,
            fair_key=self.defaults.fair_key,
        )


class _Signature:
    """A function's parameters as a Pydantic type, without the one for the context."""

    def __init__(self, function: Callable[..., Any], task: str) -> None:
        self._task = task
        parameters, hints = _parameters(function, task)
        self.context_name = _context_name(parameters, hints, task)
        fields = {name: each for name, each in parameters.items() if name != self.context_name}
        self.names = frozenset(fields)
        self._positional = tuple(name for name, each in fields.items() if each.kind in _BY_POSITION)
        self._adapter, self.schema = _adapter(fields, hints, task)
        self._serializer = SchemaSerializer(self._adapter.core_schema, _WRITING)
        self._are_plain = are_plain(self._adapter.core_schema)

    def bind(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """By name. What is missing or too much among the names is for ``encode`` to tell."""
        if len(args) > len(self._positional):
            fault = FieldError("/args", f"{len(args)} given by position, where {len(self._positional)} can be")
            raise InvalidArguments(self._task, [fault])
        found = dict(zip(self._positional, args, strict=False))
        twice = [FieldError("/args" + token(name), "given by position and by name") for name in found.keys() & keywords]
        if twice:
            raise InvalidArguments(self._task, twice)
        return found | dict(keywords)

    def encode(self, arguments: Mapping[str, Any]) -> str:
        try:
            value = self._adapter.validate_python(arguments)
        except ValidationError as error:
            raise InvalidArguments(self._task, field_errors(error, arguments, "/args")) from None
        text = encode_plain(value) if self._are_plain else None
        return self._encode_with_care(value) if text is None else text

    def _encode_with_care(self, value: object) -> str:
        """What has been written is also read again, as the worker will."""
        plain = self._plain(value)
        if faults := value_faults(plain, "/args"):
            raise InvalidArguments(self._task, faults)
        text = dump(plain)
        if faults := text_faults(text, "/args"):
            raise InvalidArguments(self._task, faults)
        self._refuse_context(self.decode(text))
        return text

    def _plain(self, value: object) -> object:
        """What JSON can write, of checked arguments."""
        try:
            return self._serializer.to_python(value, mode="json", by_alias=True, round_trip=True, warnings="error")
        except ValueError as error:  # pydantic_core's PydanticSerializationError among them
            faults = value_faults(value, "/args") or [FieldError("/args", f"not JSON: {error}")]
            raise InvalidArguments(self._task, faults) from None

    def check(self, args: str) -> None:
        """As strict as the JSON Schema: a number is no text, and a text is no number."""
        if faults := text_faults(args, "/args"):
            raise InvalidArguments(self._task, faults)
        self._refuse_context(self.decode(args, strict=True))

    def _refuse_context(self, found: Mapping[str, Any]) -> None:
        if self.context_name in found:
            fault = FieldError("/args" + token(self.context_name), "is supplied by the worker")
            raise InvalidArguments(self._task, [fault])

    def decode(self, args: str, *, strict: bool = False) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._adapter.validate_json(args, strict=strict)
        except ValidationError as error:
            raise InvalidArguments(self._task, field_errors(error, _document(args), "/args")) from None
        return found


def _document(text: str) -> object:
    """None for what Pydantic has found not to be JSON: there is no place in it to point at."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parameters(function: Callable[..., Any], task: str) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    try:
        parameters = dict(inspect.signature(function).parameters)
        hints = get_type_hints(function, include_extras=True)
    except (AttributeError, NameError, TypeError, ValueError) as error:
        raise TaskDefinitionError(f"{task}: its type hints cannot be read: {error}") from error
    for name, parameter in parameters.items():
        if parameter.kind in _REFUSED:
            raise TaskDefinitionError(f"{task}: parameter {name!r} {_REFUSED[parameter.kind]}")
    return parameters, hints


def _context_name(parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, Any], task: str) -> str | None:
    names = [name for name in parameters if _is_context(hints.get(name))]
    if len(names) > 1:
        raise TaskDefinitionError(f"{task}: {' and '.join(names)} are both annotated Context; one is enough")
    if names and parameters[names[0]].kind is inspect.Parameter.VAR_KEYWORD:
        raise TaskDefinitionError(f"{task}: the context is one parameter, not all of **{names[0]}")
    return names[0] if names else None


def _is_context(hint: Any) -> bool:
    """Also ``Context | None`` and ``Annotated[Context, …]``."""
    return hint is Context or (get_origin(hint) in _AROUND_CONTEXT and Context in get_args(hint))


def _adapter(
    fields: Mapping[str, inspect.Parameter], hints: Mapping[str, Any], task: str
) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    """The arguments as a type, and its JSON Schema."""
    rest = [name for name, parameter in fields.items() if parameter.kind is inspect.Parameter.VAR_KEYWORD]
    members = {name: _member(hints.get(name, Any), each) for name, each in fields.items() if name not in rest}
    extra_items = {"extra_items": hints.get(rest[0], Any)} if rest else {}
    arguments = TypedDict("Arguments", members, **extra_items)  # type: ignore[misc]
    arguments.__pydantic_config__ = _CONFIG if rest else {**_CONFIG, "extra": "forbid"}  # type: ignore[attr-defined]
    try:
        adapter = TypeAdapter[Any](arguments)
        return adapter, adapter.json_schema(mode="validation", by_alias=True)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise TaskDefinitionError(f"{task}: {str(error).splitlines()[0]}") from error


def _member(hint: Any, parameter: inspect.Parameter) -> Any:
    if parameter.default is inspect.Parameter.empty:
        return Required[hint]
    try:
        default = json.loads(TypeAdapter(Any).dump_json(parameter.default))
    except ValueError:
        return NotRequired[hint]
    return NotRequired[Annotated[hint, Field(json_schema_extra={"default": default})]]

"""A task: a registered function with its defaults, and its arguments as a type that checks and decodes JSON."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Generic, NotRequired, ParamSpec, Required, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, Field, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from steeple.context import Context
from steeple.domain.priority import Priority, is_queue_name
from steeple.domain.retry import Retry
from steeple.errors import FieldError, InvalidArguments, TaskDefinitionError
from steeple.store.encoding import is_storable_json
from steeple.store.tasks import TaskRecord
from steeple.submission import field_errors

P = ParamSpec("P")
R = TypeVar("R")

TASK_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.:-]{0,199}$"

_REFUSED = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only, and arguments of a job go by name",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of positions, and arguments of a job go by name",
}


@dataclass(frozen=True)
class TaskDefaults:
    queue: str
    priority: Priority
    retry: Retry
    timeout: float


class Task(Generic[P, R]):
    """A registered function. Calling it runs the function here and now; ``submit`` makes a job of it."""

    def __init__(self, function: Callable[P, R], name: str, defaults: TaskDefaults) -> None:
        if not re.fullmatch(TASK_NAME_PATTERN, name):
            raise TaskDefinitionError(f"{name!r} is not a task's name: letters, digits and . _ : -, 200 at the most")
        if not is_queue_name(defaults.queue):
            raise TaskDefinitionError(f"{name}: {defaults.queue!r} is not a queue's name")
        if not 0 < defaults.timeout < float("inf"):
            raise TaskDefinitionError(f"{name}: timeout is a number of seconds over 0, not {defaults.timeout!r}")
        self.function = function
        self.name = name
        self.defaults = defaults
        self.is_async = inspect.iscoroutinefunction(function)
        self._signature = _Signature(function, name)
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
        self._signature.decode(args)

    def decode(self, args: str, context: Context) -> dict[str, Any]:
        """What to call the function with: JSON text as the hinted types, and the context where it is wanted."""
        found = self._signature.decode(args)
        if self._signature.context_name is not None:
            found[self._signature.context_name] = context
        return found

    @cached_property
    def record(self) -> TaskRecord:
        """The task as other parts see it, without its code."""
        return TaskRecord(
            name=self.name,
            description=inspect.cleandoc(self.__doc__ or ""),
            schema=self._signature.schema,
            queue=self.defaults.queue,
            priority=self.defaults.priority,
            timeout=self.defaults.timeout,
            retry=self.defaults.retry,
            is_async=self.is_async,
        )


class _Signature:
    """A function's parameters as a Pydantic type, without the one for the context."""

    def __init__(self, function: Callable[..., Any], task: str) -> None:
        self._task = task
        parameters, hints = _parameters(function, task)
        self.context_name = _context_name(parameters, hints, task)
        fields = {name: each for name, each in parameters.items() if name != self.context_name}
        self._bindable = inspect.Signature(list(fields.values()))
        self._adapter = _adapter(fields, hints, task)
        self.schema = self._adapter.json_schema(mode="validation", by_alias=True)

    def bind(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
        try:
            bound = self._bindable.bind(*args, **keywords).arguments
        except TypeError as error:
            self.encode(keywords)  # names each fault, where all went by name
            raise InvalidArguments(self._task, [_fault(str(error))]) from None
        for name, parameter in self._bindable.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                bound.update(bound.pop(name, {}))
        return bound

    def encode(self, arguments: Mapping[str, Any]) -> str:
        try:
            value = self._adapter.validate_python(dict(arguments))
            text = self._adapter.dump_json(value, by_alias=True, round_trip=True, warnings="error").decode()
        except ValidationError as error:
            raise InvalidArguments(self._task, field_errors(error, arguments, "/args")) from None
        except ValueError as error:  # pydantic_core's PydanticSerializationError among them
            raise InvalidArguments(self._task, [_fault(f"not JSON: {error}")]) from None
        if not is_storable_json(text):
            raise InvalidArguments(self._task, [_fault("holds a NUL or half a surrogate pair, which cannot be stored")])
        return text

    def decode(self, args: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._adapter.validate_json(args)
        except ValidationError as error:
            raise InvalidArguments(self._task, field_errors(error, json.loads(args), "/args")) from None
        return found


def _fault(detail: str) -> FieldError:
    return FieldError("/args", detail)


def _parameters(function: Callable[..., Any], task: str) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    try:
        parameters = dict(inspect.signature(function).parameters)
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError, ValueError) as error:
        raise TaskDefinitionError(f"{task}: its type hints cannot be read: {error}") from error
    for name, parameter in parameters.items():
        if parameter.kind in _REFUSED:
            raise TaskDefinitionError(f"{task}: parameter {name!r} {_REFUSED[parameter.kind]}")
    return parameters, hints


def _context_name(parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, Any], task: str) -> str | None:
    names = [name for name in parameters if hints.get(name) is Context or Context in get_args(hints.get(name))]
    if len(names) > 1:
        raise TaskDefinitionError(f"{task}: {' and '.join(names)} are both annotated Context; one is enough")
    return names[0] if names else None


def _adapter(fields: Mapping[str, inspect.Parameter], hints: Mapping[str, Any], task: str) -> TypeAdapter[Any]:
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in fields.values())
    members = {
        name: _member(hints.get(name, Any), parameter)
        for name, parameter in fields.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    arguments = TypedDict("Arguments", members)  # type: ignore[misc]
    config = ConfigDict(extra="allow" if takes_any else "forbid", allow_inf_nan=False, title="Arguments")
    arguments.__pydantic_config__ = config  # type: ignore[attr-defined]
    try:
        return TypeAdapter(arguments)
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

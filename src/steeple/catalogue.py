"""Tasks known by their record only: arguments are checked against the JSON Schema that a worker registered."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from steeple.errors import FieldError, InvalidArguments
from steeple.faults import text_faults, token, value_faults
from steeple.store.encoding import dump
from steeple.store.tasks import TaskRecord

_FORMATS = {"date": date, "date-time": datetime, "time": time, "duration": timedelta, "uuid": UUID}
"""The formats that Pydantic writes for types whose text it reads by rules of its own: those of the worker."""

_LONGEST_MESSAGE = 500


class RegisteredTask:
    """A task whose code is elsewhere."""

    def __init__(self, record: TaskRecord) -> None:
        self.record = record
        self._validator = Draft202012Validator(record.schema, format_checker=_FORMAT_CHECKER)

    def encode(self, arguments: Mapping[str, Any]) -> str:
        """Arguments as JSON text, checked. Raises ``InvalidArguments``."""
        try:
            plain = to_jsonable_python(arguments, by_alias=True, bytes_mode="base64", inf_nan_mode="constants")
        except (ValueError, RecursionError) as error:
            faults = value_faults(arguments, "/args") or [FieldError("/args", f"not JSON: {error}")]
            raise InvalidArguments(self.record.name, faults) from None
        if faults := value_faults(plain, "/args"):
            raise InvalidArguments(self.record.name, faults)
        text = dump(plain)
        self.check(text)
        return text

    def check(self, args: str) -> None:
        """Check JSON text against the schema. Raises ``InvalidArguments``."""
        faults = text_faults(args, "/args") or self._schema_faults(args)
        if faults:
            raise InvalidArguments(self.record.name, faults)

    def _schema_faults(self, args: str) -> list[FieldError]:
        try:
            document = json.loads(args)
        except (ValueError, RecursionError) as error:
            return [FieldError("/args", f"not JSON: {error}")]
        found = (fault for error in self._validator.iter_errors(document) for fault in _faults(error))
        return list(dict.fromkeys(found))  # each name that is missing counts once, though the schema tells of all


def _faults(error: ValidationError) -> Iterator[FieldError]:
    """In the words of Pydantic, where the schema tells of all names at once."""
    at = "/args" + "".join(token(step) for step in error.absolute_path)
    rule: Any = error.validator_value
    instance: Any = error.instance
    schema: Any = error.schema
    match error.validator:
        case "required":
            missing = [name for name in rule if name not in instance]
            yield from (FieldError(at + token(name), "Field required") for name in missing)
        case "additionalProperties" if rule is False:
            extra = [name for name in instance if name not in schema.get("properties", {})]
            yield from (FieldError(at + token(name), "Extra inputs are not permitted") for name in extra)
        case _:
            yield FieldError(at, error.message[:_LONGEST_MESSAGE])


def _reader(kind: type) -> Callable[[object], bool]:
    adapter = TypeAdapter[Any](kind)

    def is_readable(value: object) -> bool:
        if isinstance(value, str):
            adapter.validate_json(json.dumps(value))
        return True

    return is_readable


def _format_checker() -> FormatChecker:
    checker = FormatChecker()
    for name, kind in _FORMATS.items():
        checker.checks(name, raises=ValueError)(_reader(kind))
    return checker


_FORMAT_CHECKER = _format_checker()

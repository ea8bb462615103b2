"""Tasks known by their record only: arguments are checked against the JSON Schema that a worker registered."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from pydantic import BaseModel

from steeple.errors import FieldError, InvalidArguments
from steeple.store.encoding import is_storable_json
from steeple.store.tasks import TaskRecord


class RegisteredTask:
    """A task whose code is elsewhere."""

    def __init__(self, record: TaskRecord) -> None:
        self.record = record
        self._validator = Draft202012Validator(record.schema, format_checker=Draft202012Validator.FORMAT_CHECKER)

    def encode(self, arguments: Mapping[str, Any]) -> str:
        """Arguments as JSON text, checked. Raises ``InvalidArguments``."""
        try:
            text = json.dumps(dict(arguments), default=_plain, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise InvalidArguments(self.record.name, [FieldError("/args", f"not JSON: {error}")]) from None
        if not is_storable_json(text):
            fault = FieldError("/args", "holds a NUL or half a surrogate pair, which cannot be stored")
            raise InvalidArguments(self.record.name, [fault])
        self.check(text)
        return text

    def check(self, args: str) -> None:
        """Check JSON text against the schema. Raises ``InvalidArguments``."""
        faults = [_fault(error) for error in self._validator.iter_errors(json.loads(args))]
        if faults:
            raise InvalidArguments(self.record.name, faults)


def _fault(error: ValidationError) -> FieldError:
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in error.absolute_path)
    return FieldError("".join(f"/{step}" for step in ("args", *steps)), error.message[:500])


def _plain(value: object) -> object:
    match value:
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case Enum():
            return value.value
        case BaseModel():
            return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is no JSON value")

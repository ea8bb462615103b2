"""Arguments that JSON holds as they are: numbers, texts, truth values, lists and dictionaries of them.

Written and read again such a value is the same, so that one look at the text is enough to know that it can be stored.
Of any other type (dates, models, whatever has a validator of its own) nothing is known before it has been tried.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import to_json

from steeple.faults import text_faults

_TYPES = frozenset({"bool", "dict", "float", "int", "list", "literal", "none", "nullable", "str", "union"})
_TRAITS = frozenset(
    {"type", "metadata", "schema", "items_schema", "keys_schema", "values_schema", "choices", "expected"}
    | {"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern", "strict"}
)
"""Of a type: none that changes a value, or that writes it in another way than JSON does."""

_FIELD_TRAITS = frozenset({"type", "metadata", "schema", "required"})
_CONSTANTS = (str, int, bool, type(None))


def are_plain(arguments: Mapping[str, Any]) -> bool:
    """True if all arguments that this core schema of Pydantic's accepts are plain, and their names are known."""
    if arguments["type"] != "typed-dict" or "extras_schema" in arguments:
        return False
    fields = arguments["fields"].values()
    return all(field.keys() <= _FIELD_TRAITS and _is_plain(field["schema"]) for field in fields)


def encode_plain(value: object) -> str | None:
    """Plain arguments as JSON text; None if there may be a fault in them, to be looked for."""
    try:
        text = to_json(value).decode()
    except ValueError:  # half a surrogate pair
        return None
    return None if text_faults(text, "") else text


def _is_plain(schema: Any) -> bool:
    is_known = isinstance(schema, dict) and schema["type"] in _TYPES and schema.keys() <= _TRAITS
    return is_known and all(map(_is_plain, _parts(schema))) and _has_plain_names(schema)


def _parts(schema: Mapping[str, Any]) -> Iterator[Any]:
    match schema["type"]:
        case "nullable":
            yield schema["schema"]
        case "list":
            yield schema.get("items_schema")
        case "dict":
            yield schema.get("values_schema")
        case "union":
            yield from schema["choices"]


def _has_plain_names(schema: Mapping[str, Any]) -> bool:
    """Also of a literal: no member of an enumeration is among its constants."""
    match schema["type"]:
        case "dict":
            return _is_text(schema.get("keys_schema"))
        case "literal":
            return all(type(value) in _CONSTANTS for value in schema["expected"])
    return True


def _is_text(schema: Any) -> bool:
    return _is_plain(schema) and schema["type"] == "str"

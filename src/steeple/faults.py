"""Where in the input a fault is: JSON Pointers, and the search for values that the database cannot hold."""

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from steeple.errors import FieldError
from steeple.store.encoding import storable

UNSTORABLE = "holds a NUL or half a surrogate pair, which cannot be stored"
_NOT_FINITE = "is not a finite number, or too large a one"
_TOO_DEEP = "is nested too deep, or in itself"

_MOST_FAULTS = 20
_DEEPEST = 200
"""Levels; Pydantic reads no deeper either."""

_MOST_BITS = 14_000
"""Of a whole number: about 4,200 decimal digits. Python reads and writes up to 4,300."""

_UNSTORABLE_CHARACTER = re.compile("[\x00\ud800-\udfff]")

_WORTH_A_LOOK = re.compile(r"\\u|NaN|Infinity|[eE]\+?\d{3}|(?<!\d)\d{309}")
"""JSON text without any of this holds nothing that ``value_faults`` would find."""


def is_storable(text: str) -> bool:
    """False if ``text`` holds a NUL or half a surrogate pair."""
    return _UNSTORABLE_CHARACTER.search(text) is None


def text_faults(text: str, at: str) -> list[FieldError]:
    """What the database cannot hold in JSON text, place by place; ``at`` is the pointer at which it stands."""
    if not _WORTH_A_LOOK.search(text):
        return []
    try:
        document = json.loads(text, parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        return [FieldError(at, f"not JSON: {error}")]
    return value_faults(document, at)


def value_faults(value: object, at: str) -> list[FieldError]:
    """What JSON or the database cannot hold in a value, place by place, the first few of them."""
    return list(islice(_value_faults(value, at, at, 0), _MOST_FAULTS))


def field_errors(error: ValidationError, data: object, at: str = "") -> list[FieldError]:
    """Pydantic's faults as JSON Pointers into ``data``, which stands at the pointer ``at``."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        FieldError(at + pointer(fault["loc"], data, names_missing=fault["type"] == "missing"), _plain(fault["msg"]))
        for fault in faults
    ]


def pointer(location: Sequence[int | str], data: object, *, names_missing: bool = False) -> str:
    """An RFC 6901 pointer to what stands at ``location`` in ``data``; the last step may be to name what is missing.

    Pydantic's locations also name members of unions and validators that were tried. Those are no places in the data.
    """
    found = ""
    here = data
    for number, step in enumerate(location, 1):
        if isinstance(here, Mapping) and (step in here or (names_missing and number == len(location))):
            found += token(step)
            here = here.get(step)
        elif isinstance(here, list | tuple) and isinstance(step, int) and step < len(here):
            found += token(step)
            here = here[step]
    return found


def token(step: object) -> str:
    """One step of a pointer."""
    return "/" + storable(str(step)).replace("~", "~0").replace("/", "~1")


def _value_faults(value: object, at: str, top: str, depth: int) -> Iterator[FieldError]:
    if depth > _DEEPEST:
        yield FieldError(top, _TOO_DEEP)
        return
    match value:
        case None | bool():
            return
        case int():
            if value.bit_length() > _MOST_BITS:
                yield FieldError(at, _NOT_FINITE)
        case float():
            if not math.isfinite(value):
                yield FieldError(at, _NOT_FINITE)
        case str():
            if not is_storable(value):
                yield FieldError(at, UNSTORABLE)
        case Mapping():
            for key, each in value.items():
                place = at + token(key)
                if isinstance(key, str) and not is_storable(key):
                    yield FieldError(place, f"the name {UNSTORABLE}")
                yield from _value_faults(each, place, top if depth else place, depth + 1)
        case list() | tuple() | set() | frozenset():
            for index, each in enumerate(value):
                yield from _value_faults(each, at + token(index), top, depth + 1)
        case _:
            yield from _object_faults(value, at, top, depth)


def _object_faults(value: Any, at: str, top: str, depth: int) -> Iterator[FieldError]:
    """Of what is not JSON itself but can become it, such as a date or a model."""
    try:
        plain = to_jsonable_python(value, by_alias=True, bytes_mode="base64")
    except (ValueError, RecursionError) as error:
        yield FieldError(at, f"is no JSON value: {error}")
    else:
        yield from _value_faults(plain, at, top, depth + 1)


def _whole_number(digits: str) -> int | float:
    """Python refuses to read very long numbers: it would take time that grows with their square."""
    return int(digits) if len(digits) <= (sys.get_int_max_str_digits() or len(digits)) else math.inf


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")

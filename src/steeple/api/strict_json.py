"""Reads JSON strictly. What RFC 8259 leaves to the reader (names given twice, endless numbers, half surrogate pairs,
deep nesting) is refused, with its place. Members' own texts can be had too, so that numbers stay as they were sent.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from steeple.errors import FieldError
from steeple.faults import UNSTORABLE, is_storable, token

MAX_DEPTH = 64
MAX_NUMBER_CHARS = 1000
"""Far beyond any type, and short of the 4,300 digits from which Python refuses to read or write a number."""

_MOST_FAULTS = 20
_TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"


class NotJson(Exception):
    """The text is not JSON. ``pointer`` is the innermost place that is known."""

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail, self.pointer = detail, pointer


class UnacceptableJson(Exception):
    """The text is JSON, and what it holds is refused."""

    def __init__(self, faults: list[FieldError]) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True)
class _Refused:
    """Stands where something is refused, until the walk that names the place. ``step`` leads on from there."""

    detail: str
    step: str = ""
    is_json: bool = True


def parse(text: str) -> Any:
    """The value of ``text``, in which ``faults`` finds what is refused. Raises ``NotJson``, ``UnacceptableJson``."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(str(error)) from None
    except RecursionError:
        raise UnacceptableJson([FieldError(_deepest_place(text), _TOO_DEEP)]) from None


def faults(value: object, at: str = "") -> list[FieldError]:
    """What is refused in a parsed value that stands at ``at``, the first few of it. Raises ``NotJson`` for a NaN."""
    return list(islice(_faults(value, at, 1), _MOST_FAULTS))


def read_members(text: str) -> dict[str, str] | None:
    """The text of each member of an object in which nothing is refused; None if ``text`` is something else.

    Raises ``NotJson``, ``UnacceptableJson``.
    """
    quick = _quick_members(text)
    if quick is not None:
        return quick
    value = parse(text)
    found = faults(value)
    if found:
        raise UnacceptableJson(found)
    return member_texts(text) if isinstance(value, dict) else None


def member_texts(text: str) -> dict[str, str]:
    """The text of each member of an object. ``text`` has been parsed before."""
    found: dict[str, str] = {}
    at = _first(text)
    while text[at] != "}":
        name, at = _PLAIN_DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        at = _end(text, start)
        found[name] = text[start:at]
        at = _following(text, at)
    return found


def item_texts(text: str) -> list[str]:
    """The text of each item of a list. ``text`` has been parsed before."""
    found: list[str] = []
    at = _first(text)
    while text[at] != "]":
        end = _end(text, at)
        found.append(text[at:end])
        at = _following(text, end)
    return found


def _whole_number(digits: str) -> int | _Refused:
    return int(digits) if len(digits) <= MAX_NUMBER_CHARS else _Refused(_too_long(digits))


def _number(digits: str) -> float | _Refused:
    if len(digits) > MAX_NUMBER_CHARS:
        return _Refused(_too_long(digits))
    value = float(digits)
    return value if math.isfinite(value) else _Refused("is too large for a number")


def _too_long(digits: str) -> str:
    return f"is a number of {len(digits)} characters, {MAX_NUMBER_CHARS} are allowed"


def _no_number(name: str) -> _Refused:
    return _Refused(f"{name} is no JSON", is_json=False)


def _object(members: list[tuple[str, Any]]) -> dict[str, Any] | _Refused:
    found = dict(members)
    if len(found) == len(members):
        return found
    counts = Counter(name for name, _ in members)
    twice = next(name for name, count in counts.items() if count > 1)
    return _Refused("is given more than once", token(twice))


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole_number, parse_float=_number, parse_constant=_no_number
)


class _Doubt(Exception):
    """The quick way cannot tell: it takes the slow one."""


def _short_number(digits: str) -> int:
    if len(digits) > MAX_NUMBER_CHARS:
        raise _Doubt
    return 0


def _doubtful_number(digits: str) -> float:
    if "e" in digits or "E" in digits or len(digits) > 300:
        raise _Doubt
    return 0.0


def _doubtful_name(name: str) -> None:
    raise _Doubt


def _distinct(members: list[tuple[str, Any]]) -> None:
    if len(dict(members)) != len(members):
        raise _Doubt


# Looks at each value once, without making anything of it.
_QUICK_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_int=_short_number, parse_float=_doubtful_number, parse_constant=_doubtful_name
)
_MEMBER_BEGINS = re.compile(r'[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*').match
_MEMBER_ENDS = re.compile(r"[ \t\n\r]*(,|}[ \t\n\r]*\Z)").match


def _quick_members(text: str) -> dict[str, str] | None:
    """``read_members`` for the texts that nearly all are: an object with nothing in it that needs a second look."""
    if text[:1] != "{" or "\\u" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        return None
    found: dict[str, str] = {}
    names, at, separator = 0, 1, ","
    try:
        while separator == ",":
            begins = _MEMBER_BEGINS(text, at)
            if begins is None:
                return None
            at = _QUICK_DECODER.raw_decode(text, begins.end())[1]
            found[begins[1]] = text[begins.end() : at]
            ends = _MEMBER_ENDS(text, at)
            if ends is None:
                return None
            names, at, separator = names + 1, ends.end(), ends[1]
    except (_Doubt, ValueError):
        return None
    return found if names == len(found) else None


def _faults(value: object, at: str, depth: int) -> Iterator[FieldError]:
    kind = type(value)
    if kind is str:
        if not is_storable(value):  # type: ignore[arg-type]
            yield FieldError(at, UNSTORABLE)
    elif kind is dict or kind is list:
        if depth > MAX_DEPTH:
            yield FieldError(at, _TOO_DEEP)
            return
        yield from _faults_within(value, at, depth)  # type: ignore[arg-type]
    elif kind is _Refused:
        yield _fault(value, at)  # type: ignore[arg-type]


def _faults_within(value: dict[str, Any] | list[Any], at: str, depth: int) -> Iterator[FieldError]:
    for step, each in value.items() if isinstance(value, dict) else enumerate(value):
        if type(step) is str and not is_storable(step):
            yield FieldError(at + token(step), f"the name {UNSTORABLE}")
        if type(each) not in _HARMLESS:
            yield from _faults(each, at + token(step), depth + 1)


_HARMLESS = frozenset({int, float, bool, type(None)})


def _fault(refused: _Refused, at: str) -> FieldError:
    if not refused.is_json:
        raise NotJson(refused.detail, at + refused.step)
    return FieldError(at + refused.step, refused.detail)


_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},:]')


def _deepest_place(text: str) -> str:
    """Where ``text`` first nests too deep, for naming it: not even the decoder could go all the way."""
    path: list[object] = []
    name = ""
    for match in _TOKENS.finditer(text):
        found = match[0]
        if found in "[{":
            if len(path) == MAX_DEPTH:
                break
            path.append(0)
        elif found in "]}" and path:
            path.pop()
        elif found == "," and path and isinstance(path[-1], int):
            path[-1] += 1
        elif found == ":" and path:
            path[-1] = name
        else:
            name = found[1:-1]
    return "".join(map(token, path))


_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN_DECODER = json.JSONDecoder()


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _first(text: str) -> int:
    """Where the first member or item begins, or the closing bracket stands."""
    return _skip(text, _skip(text, 0) + 1)


def _following(text: str, at: int) -> int:
    """Where the next member or item begins after one that ends at ``at``, or the closing bracket stands."""
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def _end(text: str, at: int) -> int:
    return _PLAIN_DECODER.raw_decode(text, at)[1]

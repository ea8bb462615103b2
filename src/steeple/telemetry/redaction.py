"""Keeps secrets out of what is logged: keys, passwords in URLs and connection strings, credentials in headers."""

import re
from typing import Any

from structlog.types import EventDict, WrappedLogger

_HIDDEN = "***"
_DEEPEST = 10
"""Levels; what is below, be it that something holds itself, is shown as text."""

_SECRET_NAME = re.compile(
    r"(?i)^(proxy-)?authorization$|^(set-)?cookie$|api[_-]?key$|passw(or)?d$|^pwd$|secret$|token$"
)

# Bounded repeats: the time they take grows with the text only in proportion.
_SECRETS = (
    (
        re.compile(
            r"""(?i)\b(authorization['"]?\s{0,4}[:=,]\s{0,4}(?:b?['"])?(?:(?:bearer|basic)\s{1,8})?)[^\s'",})\]]{1,4096}"""
        ),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer\s{1,8})[\w.~+/=-]{8,4096}"), rf"\1{_HIDDEN}"),
    (re.compile(r"\bstpl_[\w-]+"), f"stpl_{_HIDDEN}"),
    (re.compile(r"://\S{0,1024}@"), f"://{_HIDDEN}@"),
    (re.compile(r"(?i)(passw(?:or)?d|pwd)=('[^']{0,1024}'|[^\s&;'\"]{1,1024})"), rf"\1={_HIDDEN}"),
)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: the event with its secrets replaced, however deep they are."""
    return {name: _redacted_field(name, value) for name, value in event.items()}


def redacted(text: str) -> str:
    """``text`` with the secrets in it replaced."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _redacted_field(name: object, value: Any, depth: int = 0) -> Any:
    if isinstance(name, str) and value is not None and _SECRET_NAME.search(name):
        return _HIDDEN
    return _redacted_value(value, depth)


def _redacted_value(value: Any, depth: int) -> Any:
    match value:
        case str():
            return redacted(value)
        case None | bool() | int() | float():
            return value
        case dict() if depth < _DEEPEST:
            return {name: _redacted_field(name, each, depth + 1) for name, each in value.items()}
        case list() | tuple() | set() | frozenset() if depth < _DEEPEST:
            return [_redacted_value(each, depth + 1) for each in value]
    return redacted(repr(value))

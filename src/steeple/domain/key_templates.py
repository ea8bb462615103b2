"""Keys that a task makes of its arguments, such as ``customer:{customer}``."""

from collections.abc import Mapping
from string import Formatter
from typing import Any

LONGEST_KEY = 255


class Unfilled(ValueError):
    """``argument`` cannot be a part of a key: it is missing, or neither text nor a number."""

    def __init__(self, argument: str, detail: str) -> None:
        super().__init__(detail)
        self.argument = argument


def names_in(template: str) -> tuple[str, ...]:
    """The arguments that a template names. Raises ``ValueError``."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r}: {error}") from None
    names = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    for name, spec, conversion in names:
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"{template!r}: in braces stands the name of an argument and nothing else")
    return tuple(dict.fromkeys(name for name, _, _ in names))


def fill(template: str, arguments: Mapping[str, Any]) -> str:
    """The key for these arguments. Raises ``Unfilled``."""
    names = names_in(template)
    return template.format_map({name: _part(name, arguments) for name in names})


def _part(name: str, arguments: Mapping[str, Any]) -> str:
    if name not in arguments:
        raise Unfilled(name, "is needed for a key of the task")
    value = arguments[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unfilled(name, "must be a text or a number to be part of a key of the task")
    return str(value)

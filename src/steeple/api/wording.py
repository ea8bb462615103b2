"""Pydantic's words about a value, put as the rest of the API puts it: what the value must be, and what to do."""

import re

from steeple.domain.priority import QUEUE_PATTERN

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a string",
    "date": "a date, such as 2026-11-24",
    "datetime": "a time, such as 2026-11-24T00:00:00Z",
    "timedelta": "a duration, such as PT30S",
    "UUID": "a UUID",
}

# Each in the place of the one that Pydantic begins with. What is not here is told as Pydantic tells it.
_WORDS = tuple(
    (re.compile(pattern, re.DOTALL), replacement)
    for pattern, replacement in (
        (r"^(?:Value error|Assertion failed), ", ""),
        (r"^Field required$", "is missing, and needed"),
        (r"^Extra inputs are not permitted$", "is not known here: leave it out"),
        (
            rf"^String should match pattern '{re.escape(QUEUE_PATTERN)}'$",
            "must be 1 to 100 letters, digits and . _ : -, a letter or digit first",
        ),
        (r"^(?:Input|String|List|Dictionary|Tuple|Set|Value) should ", "must "),
        (r"^must be a valid (dictionary|object)(?: or .*)?$", "must be an object"),
        (r"^must be an object to .*$", "must be an object"),
        (r"^must be a valid (?:list|array|tuple|set)$", "must be a list"),
        (r"^must be a finite number$", "must be a number that is not endless"),
        (
            r"^must have at (least|most) (\d+) items? after validation, not (?:more than )?\d+$",
            r"must have at \1 \2 items",
        ),
        (r"^must have at (least|most) 1 items$", r"must have at \1 1 item"),
        (r"greater than or equal to (\S+)$", r"\1 or more"),
        (r"less than or equal to (\S+)$", r"\1 or less"),
        (r"^must be greater than (\S+)$", r"must be more than \1"),
        (rf"^must be a valid ({'|'.join(_KINDS)})\b.*$", lambda found: f"must be {_KINDS[found[1]]}"),
    )
)


def plain(detail: str) -> str:
    """The detail of a fault in plain words."""
    for pattern, replacement in _WORDS:
        detail = pattern.sub(replacement, detail)
    return detail

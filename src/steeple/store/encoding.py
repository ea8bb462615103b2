"""JSON for the database: text that PostgreSQL's json can hold, whatever an exception or a log line contains."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from steeple.domain.job import JobError

_compact = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode

MAX_ERROR_CHARS = 32_000
"""The longest message or traceback that is kept; the end of a traceback says most, so the middle goes."""

_UNSTORABLE_CHARACTER = re.compile("[\x00\ud800-\udfff]")

_ESCAPE_CHARS = len("\\ufffd")
_UNSTORABLE_ESCAPE = re.compile(
    r"""(?<!\\)(?:\\\\)*\\u                           # an escape, behind an even number of backslashes
        (?: 0000                                      # NUL
          | d[89ab][0-9a-f]{2} (?!\\ud[c-f])          # a high surrogate without its low one
          | (?<!\\ud[89ab][0-9a-f]{2}\\u) d[c-f][0-9a-f]{2}  # a low one without its high one
        )""",
    re.IGNORECASE | re.VERBOSE,
)


def storable(text: str) -> str:
    """``text`` without what PostgreSQL refuses: NUL and lone surrogates become U+FFFD."""
    return _UNSTORABLE_CHARACTER.sub("\ufffd", text)


def storable_json(encoded: str) -> str:
    """The same for JSON text in ASCII, where they are escapes."""
    if "\\u" not in encoded:
        return encoded
    return _UNSTORABLE_ESCAPE.sub(lambda found: found[0][:-_ESCAPE_CHARS] + "\\ufffd", encoded)


def abridged(text: str, limit: int = MAX_ERROR_CHARS) -> str:
    """``text`` with its middle cut out if it is over ``limit`` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def dump(value: Any) -> str:
    """Compact JSON; NaN and infinities raise ``ValueError``, as JSON has none."""
    return _compact(value)


def encode_error(error: JobError) -> str:
    fields = {
        name: storable(abridged(value)) if isinstance(value, str) else value for name, value in asdict(error).items()
    }
    return json.dumps(fields)


def encode_fields(fields: Mapping[str, Any]) -> str:
    """A log line's fields; what is not JSON is shown by its ``repr``."""
    try:
        encoded = json.dumps(fields, default=repr, skipkeys=True, allow_nan=False)
    except (ValueError, RecursionError):  # a number that JSON has not, something that holds itself, or goes too deep
        encoded = json.dumps({name: _shown(value) for name, value in fields.items()})
    return storable_json(encoded)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except RecursionError:
        return f"a {type(value).__name__} that goes too deep"

"""What callers give, as JSON and as parameters of a query."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any


def query_of(filters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Several values of one filter as several parameters."""
    several = {name: [value] if isinstance(value, str | datetime | int) else value for name, value in filters.items()}
    return [(name, _text(value)) for name, values in several.items() for value in values or ()]


def _text(value: object) -> str:
    return str(_plain(value) if isinstance(value, datetime) else value)


def encoded(members: Mapping[str, Any]) -> bytes:
    """Raises ``TypeError`` or ``ValueError`` for what JSON cannot hold, NaN and naive times among it."""
    return json.dumps(members, default=_plain, allow_nan=False).encode()


def _plain(value: object) -> object:
    """Times as RFC 3339 in UTC, durations as seconds."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is not a JSON value")
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone: which moment it means is unknown")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

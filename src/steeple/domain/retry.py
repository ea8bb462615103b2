"""When a failed attempt is tried again: exponential backoff with full jitter, as a pure function."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

CRASH_CAP = 3
"""A job whose slot or worker died this many times under it fails: it is likely the cause."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and how soon a task is tried again.

    ``max_attempts``: attempts in all, 1 or more. ``initial``, ``cap``: seconds. Before attempt *n+1* the delay is drawn
    evenly from 0 to ``min(cap, initial * factor ** (n-1))``: "full jitter", which spreads a herd of retries
    best (M. Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015).

    Raises ``ValueError`` for numbers out of range.
    """

    max_attempts: int = 3
    initial: float = 1.0
    factor: float = 2.0
    cap: float = 600.0

    def __post_init__(self) -> None:
        if (
            isinstance(self.max_attempts, bool)
            or not isinstance(self.max_attempts, int)
            or not 1 <= self.max_attempts <= 1000
        ):
            raise ValueError(f"max_attempts is a whole number from 1 to 1000, not {self.max_attempts!r}")
        for name, least in (("initial", 0.0), ("factor", 1.0), ("cap", 0.0)):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= least):
                raise ValueError(f"{name} is a finite number, {least:g} or more, not {value!r}")

    @classmethod
    def stored(cls, stored: Mapping[str, Any]) -> Self:
        """From what was stored; leaves out what a newer version put beside what this one knows."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})

    def ceiling(self, attempt: int) -> float:
        """The longest delay after ``attempt`` (1 for the first), in seconds."""
        try:
            return min(self.cap, self.initial * self.factor ** (attempt - 1))
        except OverflowError:
            return self.cap

    def delay(self, attempt: int, uniform: float) -> float:
        """The delay after ``attempt`` in seconds; ``uniform`` is a random number in [0, 1)."""
        return self.ceiling(attempt) * uniform

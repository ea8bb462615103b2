"""Where a slot's claims have come to in each lane, between two looks at all of it."""

from time import monotonic

_SHORTEST = 1.0
"""Seconds between two looks from the beginning: so long a job may be overlooked that became due late."""

_TIMES = 20.0
"""A look that took long, past much that is dead, is not taken again before so many times as long."""


class Outlook:
    """Marks are of ``store.exchange``."""

    def __init__(self) -> None:
        self._marks: str | None = None
        self._until = 0.0

    def marks(self) -> str | None:
        """None when it is time to look from the beginning."""
        return self._marks if monotonic() < self._until else None

    def learn(self, marks: str | None, took: float | None) -> None:
        """``took``: the seconds of a look from the beginning, None if it was from earlier marks."""
        self._marks = marks
        if took is not None:
            self._until = monotonic() + max(_SHORTEST, _TIMES * took)

    def forget(self) -> None:
        """Look from the beginning the next time."""
        self._marks = None

"""When something that died is started again: after one second, twice as long every time, half a minute at most."""

from collections.abc import Callable
from time import monotonic
from typing import Protocol

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0
_FORGIVEN_AFTER = 60.0


class Restartable(Protocol):
    """A server or a part."""

    @property
    def name(self) -> str: ...

    def start(self) -> None: ...

    def exit_status(self) -> int | None: ...


class Watch:
    """Keeps one thing running. ``deaths`` counts those since it last ran for a minute."""

    def __init__(self, subject: Restartable, clock: Callable[[], float] = monotonic) -> None:
        self.subject = subject
        self.deaths = 0
        self._clock = clock
        self._started_at = 0.0
        self._due_at: float | None = None

    def start(self) -> None:
        self._due_at = None
        self._started_at = self._clock()
        self.subject.start()

    def note_death(self) -> float | None:
        """Seconds until the restart, if it has died since the last call; None otherwise."""
        if self._due_at is not None or self.subject.exit_status() is None:
            return None
        now = self._clock()
        self.deaths = 1 if now - self._started_at > _FORGIVEN_AFTER else self.deaths + 1
        delay = min(_FIRST_DELAY * 2.0 ** (self.deaths - 1), _LONGEST_DELAY)
        self._due_at = now + delay
        return delay

    @property
    def is_due(self) -> bool:
        """It died and its delay is over."""
        return self._due_at is not None and self._clock() >= self._due_at

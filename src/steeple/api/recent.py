"""Values that are read again when they are too old; whoever asks meanwhile shares that one reading."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar, cast

T = TypeVar("T")

_QUICK_SECONDS = 0.02
_REST = 10
"""So many times as long as a reading takes there is none: it takes a tenth of a connection's time at most."""

_GRACE_SECONDS = 10.0


class Recent(Generic[T]):
    """``max_age`` is in seconds. For one event loop."""

    def __init__(self, read: Callable[[], Awaitable[T]], max_age: float) -> None:
        self._read = read
        self._max_age = max_age
        self._found: T | None = None
        self._found_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    @property
    def age(self) -> float:
        """Seconds since the value was as it is known; infinite if it never was."""
        return monotonic() - self._found_at

    def refresh(self) -> None:
        """Begin a reading, unless one is under way. Nobody need wait for it: should it fail, the value only gets older,
        until somebody waits for a reading, who is told."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_now())
            self._reading.add_done_callback(lambda reading: reading.cancelled() or reading.exception())

    async def get(self, *, since: float | None = None) -> T:
        """The value as it was at most ``max_age`` ago, or at ``since`` by the monotonic clock or later.

        Raises what the reading does.
        """
        if since is None:
            since = monotonic() - self._max_age
        while self._found_at < since:
            self.refresh()
            if self._reading is not None:
                await asyncio.shield(self._reading)
        return cast(T, self._found)

    async def _read_now(self) -> None:
        began = monotonic()
        try:
            self._found = await self._read()
            self._found_at = began
        finally:
            self._reading = None


class Laborious(Generic[T]):
    """A value that may take long to read. As long as it does not, there is a reading for whoever asks.

    Then they get what was found last, until that is ten times as old as a reading is long; and for 10 s more while the
    next is under way, so that who comes back within that time never waits. For one event loop.
    """

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._recent = Recent(self._read_timed, 0.0)
        self._took = 0.0

    async def get(self) -> T:
        """Raises what the reading does, if the value is too old."""
        if self._took < _QUICK_SECONDS:
            return await self._recent.get(since=monotonic())
        rest = _REST * self._took
        if self._recent.age > rest:
            self._recent.refresh()
        return await self._recent.get(since=monotonic() - rest - _GRACE_SECONDS)

    async def _read_timed(self) -> T:
        began = monotonic()
        found = await self._read()
        self._took = monotonic() - began
        return found

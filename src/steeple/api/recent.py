"""A value that is read again when it is too old; whoever asks meanwhile shares that one reading."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Recent(Generic[T]):
    """``max_age`` is in seconds. For one event loop."""

    def __init__(self, read: Callable[[], Awaitable[T]], max_age: float) -> None:
        self._read = read
        self._max_age = max_age
        self._found: T | None = None
        self._found_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def get(self, *, since: float | None = None) -> T:
        """The value as it was at most ``max_age`` ago, or at ``since`` by the monotonic clock or later.

        Raises what the reading does.
        """
        if since is None:
            since = monotonic() - self._max_age
        while self._found_at < since:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_now())
            await asyncio.shield(self._reading)
        return cast(T, self._found)

    async def _read_now(self) -> None:
        began = monotonic()
        try:
            self._found = await self._read()
            self._found_at = began
        finally:
            self._reading = None

"""The database as a part with an event loop uses it."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from steeple.settings import Settings
from steeple.store.engine import create_aio_engine, in_aio_transaction

T = TypeVar("T")


class Database:
    """Runs the store's functions. Connects when it is first used.

    Each call is a transaction; unless the database ``is_atomic``, its statements commit one by one. That is quicker,
    and enough for reads and for single statements. ``lock_timeout`` is how many seconds it waits for a lock, if not as
    long as everybody.
    """

    def __init__(
        self, settings: Settings, *, size: int, is_atomic: bool = True, lock_timeout: float | None = None
    ) -> None:
        self._engine = create_aio_engine(settings, size=size, is_atomic=is_atomic, lock_timeout=lock_timeout)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work``, up to three times if the connection is lost: it must be safe to repeat.

        Raises ``DatabaseError``.
        """
        return await in_aio_transaction(self._engine, work)

    async def connect(self) -> AsyncConnection:
        """A connection for whoever keeps one; close it. Raises ``DatabaseError``."""
        return await self._engine.connect()

    async def close(self) -> None:
        await self._engine.dispose()

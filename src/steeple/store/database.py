"""The database as a part with an event loop uses it."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from steeple.settings import Settings
from steeple.store.engine import create_aio_engine, in_aio_transaction

T = TypeVar("T")


class Database:
    """Runs the store's functions, each call in a transaction of its own. Connects when it is first used."""

    def __init__(self, settings: Settings, *, size: int = 10) -> None:
        self._engine = create_aio_engine(settings, size=size)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction, up to three times: it must be safe to repeat. Raises ``DatabaseError``."""
        return await in_aio_transaction(self._engine, work)

    async def close(self) -> None:
        await self._engine.dispose()

"""What the API depends on, and whether it is there."""

import asyncio

from steeple.api.recent import Recent
from steeple.broker.celery_app import ping
from steeple.settings import Settings
from steeple.store.engine import create_engine, in_transaction
from steeple.store.migrate import SchemaStatus, read_status

_SCHEMA_SECONDS = 1.0
_BROKER_SECONDS = 5.0
_PATIENCE_SECONDS = 0.5
"""A probe is answered soon, whatever the broker does."""


class Readiness:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = create_engine(settings, size=1)
        self._schema = Recent(self._read_schema, _SCHEMA_SECONDS)
        self._broker = Recent(self._ping, _BROKER_SECONDS)

    async def schema(self) -> SchemaStatus:
        """Raises ``DatabaseError``."""
        return await self._schema.get()

    async def broker(self) -> str:
        """``ok``, ``unreachable`` or ``none``."""
        if self._settings.broker_url is None:
            return "none"
        try:
            return await asyncio.wait_for(self._broker.get(), _PATIENCE_SECONDS)
        except TimeoutError:
            return "unreachable"

    def close(self) -> None:
        self._engine.dispose()

    async def _read_schema(self) -> SchemaStatus:
        return await asyncio.to_thread(in_transaction, self._engine, read_status)

    async def _ping(self) -> str:
        try:
            await asyncio.to_thread(ping, self._settings)
        except Exception:  # noqa: BLE001 - whatever is in the way, the broker cannot be used
            return "unreachable"
        return "ok"

"""Holds requests until the jobs that they wait for have ended. One query at a time looks for all of them."""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence, Set
from uuid import UUID

from starlette.requests import Request

from steeple.store.database import Database
from steeple.store.reads import ended
from steeple.telemetry import events

LONGEST_WAIT = 60.0
"""Seconds; a longer wait that is asked for is cut to this."""

_TICK_SECONDS = 0.05
_MOST_PATIENCE = 5
"""Ticks between two looks when nothing ends."""

_PREFERENCE = re.compile(rb'(?:^|,)\s*wait\s*=\s*"?(\d+(?:\.\d+)?(?:e\+?\d+)?)"?\s*(?=[,;]|$)')


class Watcher:
    """For one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[UUID, set[asyncio.Future[None]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._patience = 1
        self._is_released = False

    async def wait(self, job_id: UUID, seconds: float, request: Request) -> None:
        """Returns when the job has ended, after ``seconds``, when the client has gone, or when waits are released."""
        if self._is_released or seconds <= 0:
            return
        end = asyncio.get_running_loop().create_future()
        gone = asyncio.create_task(_disconnected(request))
        self._add(job_id, end)
        try:
            await asyncio.wait((end, gone), timeout=min(seconds, LONGEST_WAIT), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            self._remove(job_id, end)

    def held(self) -> Mapping[UUID, Collection[object]]:
        """The jobs that are waited for, each with its waits."""
        return dict(self._waiting)

    def release(self) -> None:
        """Let every request go, and hold none from now on."""
        self._is_released = True
        self._end(frozenset(self._waiting))

    def _add(self, job_id: UUID, end: "asyncio.Future[None]") -> None:
        self._waiting.setdefault(job_id, set()).add(end)
        self._patience = 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())

    def _remove(self, job_id: UUID, end: "asyncio.Future[None]") -> None:
        ends = self._waiting.get(job_id, set())
        ends.discard(end)
        if not ends:
            self._waiting.pop(job_id, None)

    async def _look_on(self) -> None:
        ticks = 0
        while self._waiting:
            await asyncio.sleep(_TICK_SECONDS)
            ticks += 1
            if ticks >= self._patience:
                ticks = 0
                found = await self._look()
                self._end(found)
                self._patience = 1 if found else min(self._patience + 1, _MOST_PATIENCE)
        self._looking = None

    async def _look(self) -> Set[UUID]:
        try:
            return await self._read(list(self._waiting))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
            events.database_failed(error)
            return frozenset()

    async def _read(self, ids: Sequence[UUID]) -> Set[UUID]:
        return await self._database.run(lambda connection: ended(connection, ids))

    def _end(self, found: Set[UUID]) -> None:
        for job_id in found:
            for end in self._waiting.get(job_id, ()):
                if not end.done():
                    end.set_result(None)


async def _disconnected(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def preferred_wait(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds of ``Prefer: wait=N``, at most 60; None without it. One that cannot be read is ignored (RFC 7240)."""
    match = _PREFERENCE.search(headers.get(b"prefer", b"").lower())
    return None if match is None else min(float(match[1]), LONGEST_WAIT)

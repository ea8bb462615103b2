"""Engines at which actors stop, kept from one world to the next: to make one, and to connect, takes long."""

import asyncio
from dataclasses import dataclass
from typing import Any

from actors import Killed
from stops import stop_at_every_step

from steeple import Settings
from steeple.store.database import Database
from steeple.store.engine import Engine, create_engine


@dataclass(frozen=True)
class Office:
    """What an API has for itself: its event loop, and its connections as ``api.services`` makes them."""

    loop: asyncio.AbstractEventLoop
    writes: Database
    single: Database
    """Whose statements commit one by one."""

    def clear(self) -> None:
        """Nobody works here any more; what was begun ends now."""
        begun = asyncio.all_tasks(self.loop)
        for task in begun:
            task.cancel()
        if begun:
            self.loop.run_until_complete(asyncio.wait(begun))

    def disconnect(self) -> None:
        for database in (self.writes, self.single):
            self.loop.run_until_complete(database.close())

    def close(self) -> None:
        self.disconnect()
        self.loop.close()


class Shed:
    """All engines are of one database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._idle: list[Engine] = []
        self._taken: list[Engine] = []
        self._idle_offices: list[Office] = []
        self._taken_offices: list[Office] = []

    def take(self) -> Engine:
        """An engine for as long as this world lasts."""
        if not self._idle:
            self._idle.append(create_engine(self.settings, size=2))
            stop_at_every_step(self._idle[-1])
        self._taken.append(self._idle.pop())
        return self._taken[-1]

    def take_office(self) -> Office:
        """An office for as long as this world lasts."""
        if not self._idle_offices:
            self._idle_offices.append(_office(self.settings))
        self._taken_offices.append(self._idle_offices.pop())
        return self._taken_offices[-1]

    def take_back(self) -> None:
        """The world is over."""
        self._idle += reversed(self._taken)
        self._taken.clear()
        self._idle_offices += reversed(self._taken_offices)
        self._taken_offices.clear()

    def renew(self) -> None:
        """The connections of this world may be lost, and those who come next must not notice."""
        for engine in self._taken:
            engine.dispose()
        for office in self._taken_offices:
            office.disconnect()

    def close(self) -> None:
        self.take_back()
        for engine in self._idle:
            engine.dispose()
        for office in self._idle_offices:
            office.close()


def _office(settings: Settings) -> Office:
    databases = [Database(settings, size=4, is_atomic=is_atomic) for is_atomic in (True, False)]
    for database in databases:
        stop_at_every_step(database._engine.sync_engine)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_pass_over_the_killed)
    return Office(loop, *databases)


def _pass_over_the_killed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An API that was killed has nobody left to ask what became of its tasks."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)

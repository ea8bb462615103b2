"""Engines at which actors stop, kept from one world to the next: to make one, and to connect, takes long."""

from stops import stop_at_every_step

from steeple import Settings
from steeple.store.engine import Engine, create_engine


class Shed:
    """All engines are of one database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._idle: list[Engine] = []
        self._taken: list[Engine] = []

    def take(self) -> Engine:
        """An engine for as long as this world lasts."""
        if not self._idle:
            self._idle.append(create_engine(self.settings, size=2))
            stop_at_every_step(self._idle[-1])
        self._taken.append(self._idle.pop())
        return self._taken[-1]

    def take_back(self) -> None:
        """The world is over."""
        self._idle += reversed(self._taken)
        self._taken.clear()

    def close(self) -> None:
        self.take_back()
        for engine in self._idle:
            engine.dispose()

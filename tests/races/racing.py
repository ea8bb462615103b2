"""Two transactions that meet: the first has done its work and not committed when the second begins."""

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text

from playground import Playground
from steeple.embedded.processes import wait_until

Act = Callable[[Connection], Any]

_WAITS_FOR_LOCK = """
SELECT count(*) FROM pg_stat_activity WHERE pid = :pid AND wait_event_type = 'Lock'
"""


class Racer(threading.Thread):
    """Does ``act`` in a transaction of its own."""

    def __init__(self, playground: Playground, act: Act) -> None:
        super().__init__()
        self._playground = playground
        self._act = act
        self.pid: int | None = None
        self.result: Any = None

    def run(self) -> None:
        try:
            with self._playground.engine.begin() as connection:
                self.pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
                self.result = self._act(connection)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.result = error

    def is_held_up(self) -> bool:
        return self.pid is not None and bool(self._playground.value(_WAITS_FOR_LOCK, pid=self.pid))


def race(playground: Playground, first: Act, second: Act) -> tuple[Any, Any]:
    """What each gave; an exception that it raised is given as its result.

    The first commits when the second waits for its lock, or is done without waiting.
    """
    with playground.engine.begin() as connection:
        result = first(connection)
        racer = Racer(playground, second)
        racer.start()
        assert wait_until(lambda: racer.is_held_up() or not racer.is_alive(), 30)
    racer.join(30)
    assert not racer.is_alive()
    return result, racer.result


def together(playground: Playground, *acts: Act) -> list[Any]:
    """What each gave, when all begin at the same moment."""
    barrier = threading.Barrier(len(acts))

    def meet(act: Act) -> Act:
        def run(connection: Connection) -> Any:
            barrier.wait(30)
            return act(connection)

        return run

    racers = [Racer(playground, meet(act)) for act in acts]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(30)
    return [racer.result for racer in racers]

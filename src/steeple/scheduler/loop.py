"""One loop, many ticks. A tick does one round and says when it wants the next; pauses, jitter, faults and stopping are
the loop's."""

import heapq
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic
from typing import TypeAlias

from steeple.app import Steeple
from steeple.errors import ConfigurationError
from steeple.scheduler.chores import DoChores
from steeple.scheduler.fire import FireSchedules
from steeple.scheduler.prune import Prune
from steeple.scheduler.rescue import Rescue
from steeple.scheduler.rollup import roll_up
from steeple.scheduler.troubles import Troubles
from steeple.scheduler.unpark import Unpark
from steeple.scheduler.wake_due import WakeDue
from steeple.settings import Settings
from steeple.store.engine import DatabaseError, create_engine, database_url, in_transaction, is_away
from steeple.store.migrate import status, upgrade
from steeple.telemetry import events, logs

_AWAY_SECONDS = 1.0
"""Between attempts while the database is away."""

_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0

_LEEWAY_FROM_SECONDS = 1.0
_LEEWAY = 0.1
"""Pauses of a second and more may be shortened by up to this share: by chance, so that schedulers that began together
part, and to have ticks go together, as waking up costs more than most of them."""

_LAST_WORD_SECONDS = 2.0
"""How long a stop waits for a wake-up that is on its way to a broker that does not answer."""

_DATABASE = "database"


_OwnThread: TypeAlias = WakeDue | FireSchedules | Unpark


@dataclass(frozen=True)
class Tick:
    """``run`` does one round and gives the seconds until it wants the next, 0 for at once."""

    name: str
    run: Callable[[], float]


class Loop:
    """Runs ticks by turns in the calling thread, until ``stop`` is set."""

    def __init__(self, ticks: Sequence[Tick], stop: threading.Event, troubles: Troubles) -> None:
        self._ticks = ticks
        self._stop = stop
        self._troubles = troubles
        self._failures = [0] * len(ticks)

    def run(self) -> None:
        """The one due first goes first, so a tick that always has more to do does not keep the others from theirs."""
        agenda = [(monotonic(), place, 0.0) for place in range(len(self._ticks))]
        while True:
            due, place, leeway = agenda[0]
            if self._stop.wait(_seconds_until(due, leeway)):
                return
            pause = self._round(place)
            heapq.heapreplace(agenda, (monotonic() + pause, place, _leeway(pause)))

    def _round(self, place: int) -> float:
        """One round of a tick; the seconds until its next."""
        tick = self._ticks[place]
        try:
            pause = tick.run()
        except Exception as error:  # noqa: BLE001 - whatever one tick meets, it tries again and the others go on
            return self._pause_after(place, error)
        self._failures[place] = 0
        self._troubles.over(_DATABASE)
        self._troubles.over(tick.name)
        return pause

    def _pause_after(self, place: int, error: Exception) -> float:
        if isinstance(error, DatabaseError) and is_away(error):
            self._troubles.began(_DATABASE, error)
            return _AWAY_SECONDS
        self._troubles.began(self._ticks[place].name, error)
        self._failures[place] += 1
        doublings = min(self._failures[place] - 1, 10)
        longest = min(_LONGEST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0**doublings)
        return random.uniform(longest / 2, longest)  # noqa: S311 - no secret


def run(settings: Settings, app: Steeple | None) -> None:
    """Be a scheduler until SIGTERM or SIGINT. Any number may run at once; none of them leads.

    Raises what is wrong if the database cannot be reached at the start; once running, waits until it is back.
    """
    logs.configure(settings, "scheduler")
    stop = threading.Event()
    with _set_by_signals(stop):
        _prepare_schema(settings)
        schedule(settings, app, stop)


def _prepare_schema(settings: Settings) -> None:
    url = database_url(settings).render_as_string(hide_password=False)
    if settings.auto_upgrade:
        upgrade(url)
    elif status(url).current is None:
        raise ConfigurationError("the database has no schema yet: run `steeple db upgrade`")


def schedule(settings: Settings, app: Steeple | None, stop: threading.Event) -> None:
    """Tick until ``stop`` is set. Wake-ups have a thread to themselves: a broker that hangs holds up nothing else. So
    have schedules and rates: what is to be on time does not wait for what takes its time.
    """
    engine = create_engine(settings, size=4)
    # Most rounds are one statement: without BEGIN and COMMIT around it, an idle scheduler costs a third.
    single = engine.execution_options(isolation_level="AUTOCOMMIT")
    troubles = Troubles()
    ticks = (
        Tick("rescue", Rescue(engine, single, settings)),
        Tick("chores", DoChores(engine, single)),
        Tick("roll_up", lambda: roll_up(engine, single)),
        Tick("prune", Prune(engine, single, settings)),
    )
    own_threads = [
        _thread("wake_due", WakeDue(single, settings, troubles), stop, troubles),
        _thread("unpark", Unpark(engine, single), stop, troubles),
        _thread("fire_schedules", FireSchedules(engine, settings, app), stop, troubles),
    ]
    try:
        if app is not None:
            in_transaction(engine, app.announce)
        events.scheduler_started()
        for thread in own_threads:
            thread.start()
        Loop(ticks, stop, troubles).run()
        for thread in own_threads:
            thread.join(_LAST_WORD_SECONDS)
    finally:
        engine.dispose()
    events.scheduler_stopped()


def _thread(name: str, tick: _OwnThread, stop: threading.Event, troubles: Troubles) -> threading.Thread:
    """For a tick that lets go of what it holds at the end."""

    def run() -> None:
        Loop([Tick(name, tick)], stop, troubles).run()
        tick.close()

    return threading.Thread(target=run, name=name, daemon=True)


@contextmanager
def _set_by_signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set ``stop``, by way of a thread: a handler may interrupt the wait whose lock it needs."""
    asked: SimpleQueue[bool] = SimpleQueue()

    def pass_on() -> None:
        if asked.get():
            stop.set()

    former = {each: signal.signal(each, lambda *_: asked.put(True)) for each in (signal.SIGTERM, signal.SIGINT)}
    threading.Thread(target=pass_on, name="signals", daemon=True).start()
    try:
        yield
    finally:
        asked.put(False)
        for each, handler in former.items():
            signal.signal(each, handler)


def _seconds_until(due: float, leeway: float) -> float:
    """0 if it may go now, as we are awake."""
    left = due - monotonic()
    return 0.0 if left <= leeway else left - random.uniform(0.0, leeway)  # noqa: S311 - no secret


def _leeway(pause: float) -> float:
    return 0.0 if pause < _LEEWAY_FROM_SECONDS else pause * _LEEWAY

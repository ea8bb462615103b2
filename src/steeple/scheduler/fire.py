"""Fires schedules on time: sleeps until the next is due, fires what is, wakes the lanes of the new jobs."""

from collections.abc import Callable
from math import inf
from time import monotonic

from steeple.app import Steeple
from steeple.broker.wake import Waker
from steeple.domain.waking import Crew
from steeple.scheduler.firing import MOST_AT_ONCE, Fired, fire_backfills, fire_due, fire_waiting
from steeple.scheduler.known_tasks import KnownTasks
from steeple.settings import Settings
from steeple.store.engine import Connection, Engine, in_transaction
from steeple.store.fires import Outlook, outlook
from steeple.store.standing import StandingConnection
from steeple.store.workers import live_workers
from steeple.telemetry import events

_LONGEST_PAUSE_SECONDS = 0.5
_IDLE_PAUSE_SECONDS = 1.0
"""Between looks at what is due, the second where nothing ever is: so late may the first fire of a new schedule be."""

_WAITING_PAUSE_SECONDS = 0.25
"""While fires wait for the end of a job."""

_HELD_PAUSE_SECONDS = 0.02
"""While a schedule that is due is being changed, or has more to make up."""

_LOOK_AGAIN_SECONDS = 1.0
"""How old the known workers may be."""

_Work = Callable[[Connection, KnownTasks], Fired]


class FireSchedules:
    """A tick, with a connection of its own to the database and, once it has fired, one to the broker."""

    def __init__(self, engine: Engine, settings: Settings, app: Steeple | None) -> None:
        self._engine = engine
        self._standing = StandingConnection(engine)
        self._tasks = KnownTasks(app)
        self._fleet = _Fleet(engine, settings.worker_dead_after)
        self._waker = Waker(settings, self._fleet.crews)

    def __call__(self) -> float:
        """Fire all that is due. Returns when the next is."""
        ahead = self._standing.run(outlook)
        if self._work(ahead):
            ahead = self._standing.run(outlook)
        if ahead.has_waiting or ahead.has_backfills:
            return min(_WAITING_PAUSE_SECONDS, _until(ahead))
        return _IDLE_PAUSE_SECONDS if ahead.next_in is None else min(_LONGEST_PAUSE_SECONDS, _until(ahead))

    def _work(self, ahead: Outlook) -> bool:
        """What there is to do, if there is any. Fires that wait come first: the next may have to wait behind them."""
        is_due = ahead.next_in is not None and ahead.next_in <= 0
        if ahead.has_waiting:
            self._run(fire_waiting)
        if is_due:
            self._run(fire_due)
        if ahead.has_backfills:
            self._run(fire_backfills)
        return is_due or ahead.has_waiting or ahead.has_backfills

    def close(self) -> None:
        """Send the wake-ups that are left, and let go of the broker and of the database."""
        self._waker.close()
        self._standing.close()

    def _run(self, work: _Work) -> None:
        """Once, and again while there is more than goes into one transaction."""
        while True:
            done = in_transaction(self._engine, lambda connection: work(connection, self._tasks))
            if done.lanes:
                self._waker.wake(done.lanes)
            for each in done.failures:
                events.fire_failed(each.key.schedule_id, each.key.time, each.why)
            for each in done.missed:
                events.fires_missed(each.key.schedule_id, each.key.time, each.why)
            if done.taken < MOST_AT_ONCE:
                return


def _until(ahead: Outlook) -> float:
    """Seconds until the next fire is due; endless if none is to come. One that is due still is held by somebody."""
    if ahead.next_in is None:
        return inf
    return ahead.next_in if ahead.next_in > 0 else _HELD_PAUSE_SECONDS


class _Fleet:
    """The live workers, for the waker's thread."""

    def __init__(self, engine: Engine, dead_after: float) -> None:
        self._engine = engine
        self._dead_after = dead_after
        self._found: tuple[Crew, ...] = ()
        self._seen = float("-inf")

    def crews(self) -> tuple[Crew, ...]:
        if monotonic() - self._seen > _LOOK_AGAIN_SECONDS:
            workers = in_transaction(self._engine, lambda connection: live_workers(connection, self._dead_after))
            self._found = tuple(Crew(worker.binding, worker.slots) for worker in workers if not worker.draining)
            self._seen = monotonic()
        return self._found

"""Wakes the lanes that have due jobs, whatever became of earlier wake-ups: why nothing in the broker needs to last."""

from time import monotonic

from steeple.broker.celery_app import make_celery
from steeple.broker.wake import Publisher
from steeple.domain.waking import Crew, plan_wakes
from steeple.scheduler.troubles import Troubles
from steeple.settings import Settings
from steeple.store.engine import Engine
from steeple.store.lanes import find_work
from steeple.store.standing import StandingConnection
from steeple.store.workers import live_workers

_BROKER = "broker"

_LOOK_AGAIN_SECONDS = 1.0
"""How old the known workers may be."""

_SOONEST_SECONDS = 0.02
"""Between rounds when jobs fall due one after the other."""


class WakeDue:
    """A tick, with connections of its own to the database and the broker."""

    def __init__(self, engine: Engine, settings: Settings, troubles: Troubles) -> None:
        self._connection = StandingConnection(engine)
        self._settings = settings
        self._troubles = troubles
        self._publisher = Publisher(make_celery(settings))
        self._fleet: tuple[Crew, ...] = ()
        self._fleet_seen = float("-inf")

    def __call__(self) -> float:
        """Wake what is due. Returns when the next job falls due, the wake interval at most."""
        work = self._connection.run(find_work)
        if work.due:
            wakes = plan_wakes(work.due, self._known_fleet())
            try:
                self._publisher.publish(wakes)
                self._troubles.over(_BROKER)
            except Exception as error:  # noqa: BLE001 - every transport has its own; the next round tries again
                self._troubles.began(_BROKER, error)
        longest = self._settings.wake_interval
        return longest if work.next_in is None else min(longest, max(work.next_in, _SOONEST_SECONDS))

    def close(self) -> None:
        """Let go of the broker and of the database."""
        self._publisher.close()
        self._connection.close()

    def _known_fleet(self) -> tuple[Crew, ...]:
        if monotonic() - self._fleet_seen > _LOOK_AGAIN_SECONDS:
            alive = self._settings.worker_dead_after
            workers = self._connection.run(lambda connection: live_workers(connection, alive))
            self._fleet = tuple(Crew(worker.binding, worker.slots) for worker in workers if not worker.draining)
            self._fleet_seen = monotonic()
        return self._fleet

"""Wakes workers for jobs that this API made due."""

from collections.abc import Mapping
from time import monotonic

from steeple.broker.wake import Waker
from steeple.domain.priority import Lane
from steeple.domain.waking import Crew
from steeple.settings import Settings
from steeple.store.engine import DatabaseError, create_engine, in_transaction
from steeple.store.workers import live_workers
from steeple.telemetry import events

_LOOK_AGAIN_SECONDS = 1.0
_LONGEST_SECONDS = 10.0
"""So old may be what is known of the workers where a submit would have to wait for a look; of one that came since, the
scheduler knows."""


class Wakes:
    """Hands lanes to a waker; without a broker it does nothing, and the scheduler's wakes are all there are."""

    def __init__(self, settings: Settings) -> None:
        self._fleet = Fleet(settings)
        self._waker = (
            None if settings.broker_url is None else Waker(settings, self._fleet.crews, self._fleet.look_again)
        )

    def expect(self, lane: Lane) -> None:
        """Note that a job is about to be stored that will be due in this lane. Returns at once."""
        if self._waker is not None:
            self._waker.expect(lane)

    def wake(self, lanes: Mapping[Lane, int]) -> None:
        """Note that so many jobs became due in these lanes. Returns at once."""
        if self._waker is not None:
            self._waker.wake(lanes)

    def close(self) -> None:
        """Send what is noted. May take seconds if the broker is away."""
        if self._waker is not None:
            self._waker.close()
        self._fleet.close()


class Fleet:
    """The live workers, as they were at the last submit but for a few seconds. For the waker's thread."""

    def __init__(self, settings: Settings) -> None:
        self._dead_after = settings.worker_dead_after
        self._engine = create_engine(settings, size=1)
        self._found: tuple[Crew, ...] = ()
        self._at = float("-inf")

    def crews(self) -> tuple[Crew, ...]:
        if not self._found or monotonic() >= self._at + _LONGEST_SECONDS:
            self._look()
        return self._found

    def look_again(self) -> None:
        """After the wake-ups have gone out, so that none waits for it."""
        if monotonic() >= self._at + _LOOK_AGAIN_SECONDS:
            try:
                self._look()
            except DatabaseError as error:
                events.database_failed(error)

    def _look(self) -> None:
        workers = in_transaction(self._engine, lambda connection: live_workers(connection, self._dead_after))
        self._found = tuple(Crew(worker.binding, worker.slots) for worker in workers if not worker.draining)
        self._at = monotonic()

    def close(self) -> None:
        self._engine.dispose()

"""A slot: the parts of one pool process put together after the fork, and the body of the wake-up task."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from steeple.broker.wake import Publisher
from steeple.domain.priority import Binding, Lane
from steeple.domain.statistics import CounterName
from steeple.domain.waking import Wakes
from steeple.settings import Settings
from steeple.store import counters
from steeple.store.children import ParentView, read_parents
from steeple.store.engine import create_engine, in_transaction
from steeple.store.exchange import Claimant
from steeple.task import Task
from steeple.telemetry import events
from steeple.worker import drain
from steeple.worker.attendant import Attendant
from steeple.worker.batch import Batch
from steeple.worker.board import Board, Seat
from steeple.worker.claims import Claims
from steeple.worker.coroutines import Coroutines
from steeple.worker.drain import Drain, Pace
from steeple.worker.interrupts import Interrupts
from steeple.worker.ledger import Ledger
from steeple.worker.perform import Performer
from steeple.worker.reporter import SlotReporter
from steeple.worker.strangers import Strangers

_POLL_SECONDS = 0.05
_ALONE_SECONDS = 30.0
"""How long a slot goes on by itself before it tries a broker again that failed it."""


@dataclass(frozen=True)
class Crew:
    """What all slots of a worker share, made before they are forked."""

    name: str
    settings: Settings
    board: Board
    binding: Binding
    slots: int
    tasks: Mapping[str, Task[Any, Any]]


class Slot:
    """Lives in a pool process; its main thread is the one that runs tasks."""

    def __init__(self, crew: Crew, index: int, publisher: Publisher) -> None:
        settings = crew.settings
        self._crew = crew
        self._seat = _sit_down(crew.board, index)
        self._publisher = publisher
        self._alone_until = 0.0
        self._engine = engine = create_engine(settings, size=2, plans_once=True)
        reporter = SlotReporter(self._read_parents)
        batch = Batch()
        limit = settings.max_result_bytes
        coroutines = Coroutines(self._seat, reporter, limit, lambda *end: self._drain.note_end(*end))
        interrupts = Interrupts(coroutines.look)
        interrupts.install()
        self._strangers = Strangers(engine, crew.tasks, settings.unknown_task_grace, settings.worker_dead_after)
        ledger = Ledger(
            engine,
            batch,
            self._claimant,
            reporter,
            lambda: batch.claims | coroutines.claims | batch.claims,  # a claim goes from the one to the other and back
            Patience(crew.board, settings.shutdown_grace),
            self._seat.note_exchange,
        )
        has_coroutines = any(task.is_async for task in crew.tasks.values())
        claims = Claims(crew.board, batch, coroutines, ledger, has_coroutines=has_coroutines)
        attendant = Attendant(crew.board, batch, claims, coroutines, ledger)
        attendant.start()
        performer = Performer(interrupts, reporter, limit)
        self._drain = Drain(
            crew.board,
            self._seat,
            batch,
            claims,
            drain.Crew(performer, coroutines, attendant, self._strangers),
            crew.tasks,
            Pace(settings.drain_slice, settings.max_claim),
        )
        events.slot_started(crew.name, self._seat.number, os.getpid())

    def work(self) -> None:
        """Drain; again if what is left can be handed on to nobody."""
        self._seat.is_at_work = True
        try:
            while (left := self._drain.run()) is not None:
                if self._hand_on(left):
                    break
        except BaseException as error:  # noqa: BLE001 - what the slot holds is only sure to be settled if it ends
            events.slot_failed(error)
            os._exit(1)
        self._seat.is_at_work = False

    def drop(self, what: str) -> None:
        """Count a message that is no wake-up of ours."""
        events.wake_dropped(what)
        in_transaction(self._engine, lambda connection: counters.add(connection, {CounterName.DROPPED_WAKE_UPS: 1}))

    def _hand_on(self, lane: Lane) -> bool:
        """Wake the lane, so that the next free slot goes on; False if the broker is away."""
        if time.monotonic() < self._alone_until:
            return False
        target = self._crew.binding.lane_for(lane)
        try:
            self._publisher.publish({target: Wakes(1, self._crew.slots + 1)})
        except Exception as error:  # noqa: BLE001 - whatever it is, this slot can go on by itself
            events.wake_failed(error)
            self._alone_until = time.monotonic() + _ALONE_SECONDS
            return False
        return True

    def _read_parents(self, job_id: UUID) -> Sequence[ParentView]:
        return in_transaction(self._engine, lambda connection: read_parents(connection, job_id))

    def _claimant(self) -> Claimant:
        crew = self._crew
        return Claimant(
            worker_id=crew.board.worker_id,
            slot=self._seat.number,
            binding=crew.binding,
            starvation=crew.settings.starvation_after,
            tasks=self._strangers.claimable(),
        )


def _sit_down(board: Board, index: int) -> Seat:
    while (seat := board.seat_for(index)) is None:
        time.sleep(_POLL_SECONDS)
    seat.take(os.getpid())
    return seat


class Patience:
    """Tells when a draining slot has tried the database for long enough."""

    def __init__(self, board: Board, grace: float) -> None:
        self._board = board
        self._grace = grace
        self._since: float | None = None

    def __call__(self) -> bool:
        if not self._board.is_draining:
            return False
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since > self._grace

"""The slot's second thread: while a task runs long it writes what ended before, gives back what waits behind, and
passes the task's reports on."""

import os
import threading

from steeple.telemetry import events
from steeple.worker.batch import Batch
from steeple.worker.board import Board
from steeple.worker.coroutines import Coroutines
from steeple.worker.ledger import GaveUp, Ledger

_TICK_SECONDS = 0.05
_PATIENCE_SECONDS = 0.15
"""How old a batch may be before what waits in it goes back, for a slot that is free: longer than a batch of short tasks
takes, and with the ticks and the writing far within 1 s."""

_TICKS_BETWEEN_REPORTS = 4


class Attendant(threading.Thread):
    """Idle between the batches: ``attend`` and ``rest`` say when there is one."""

    def __init__(self, board: Board, batch: Batch, coroutines: Coroutines, ledger: Ledger) -> None:
        super().__init__(name="attendant", daemon=True)
        self._board = board
        self._batch = batch
        self._coroutines = coroutines
        self._ledger = ledger
        self._has_work = threading.Event()
        self._pause = threading.Event()
        self._ticks = 0

    def attend(self) -> None:
        self._has_work.set()

    def rest(self) -> None:
        self._has_work.clear()

    def run(self) -> None:
        while True:
            self._has_work.wait()
            self._pause.wait(_TICK_SECONDS)
            try:
                self._tick()
            except GaveUp:
                return
            except BaseException as error:  # noqa: BLE001 - what it had in hand is only sure to be settled if we end
                events.slot_failed(error)
                os._exit(1)

    def _tick(self) -> None:
        is_draining = self._board.is_draining
        for claim in self._coroutines.take_back(0.0 if is_draining else _PATIENCE_SECONDS):
            self._batch.give_back(claim)
        if self._batch.age > _PATIENCE_SECONDS or (is_draining and self._batch.age):
            self._batch.release_waiting()
            if self._batch.has_ended:
                self._ledger.exchange(0)
        self._ticks += 1
        if self._ticks % _TICKS_BETWEEN_REPORTS == 0:
            self._ledger.report()

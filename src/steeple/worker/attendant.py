"""The slot's second thread: while a task runs long it writes what ended before, gives back what waits behind, and
passes the task's reports on."""

import threading

from steeple.telemetry import events
from steeple.worker.batch import Batch
from steeple.worker.board import Board
from steeple.worker.ledger import GaveUp, Ledger

_TICK_SECONDS = 0.2
_PATIENCE_SECONDS = 0.4
"""How old a batch may be before what waits in it goes back: with the ticks and the writing, well within 1 s."""


class Attendant(threading.Thread):
    """Idle between the batches: ``attend`` and ``rest`` say when there is one."""

    def __init__(self, board: Board, batch: Batch, ledger: Ledger) -> None:
        super().__init__(name="attendant", daemon=True)
        self._board = board
        self._batch = batch
        self._ledger = ledger
        self._has_work = threading.Event()
        self._pause = threading.Event()

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
            except Exception as error:  # noqa: BLE001 - this thread must go on; the next tick tries again
                events.attendant_failed(error)

    def _tick(self) -> None:
        if self._batch.age > _PATIENCE_SECONDS or (self._board.is_draining and self._batch.age):
            self._batch.release_waiting()
            ended, released = self._batch.take()
            if ended or released:
                self._ledger.exchange(ended, released, 0)
        self._ledger.report()

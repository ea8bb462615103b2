"""The slot's second thread: beside a running task it claims what comes next; while that runs long it writes what ended
before, gives back what waits behind, and passes the task's reports on."""

import os
import threading
from time import monotonic

from steeple.telemetry import events
from steeple.worker.batch import Batch
from steeple.worker.board import Board
from steeple.worker.claims import Claims
from steeple.worker.coroutines import Coroutines
from steeple.worker.ledger import GaveUp, Ledger

_TICK_SECONDS = 0.05
_PATIENCE_SECONDS = 0.15
"""How old a batch may be before what waits in it goes back, for a slot that is free: longer than a batch of short tasks
takes, and with the ticks and the writing far within 1 s."""

_TICKS_BETWEEN_REPORTS = 4


class Attendant(threading.Thread):
    """Idle between the batches: ``attend`` and ``rest`` say when there is one."""

    def __init__(self, board: Board, batch: Batch, claims: Claims, coroutines: Coroutines, ledger: Ledger) -> None:
        super().__init__(name="attendant", daemon=True)
        self._board = board
        self._batch = batch
        self._claims = claims
        self._coroutines = coroutines
        self._ledger = ledger
        self._has_work = threading.Event()
        self._ticks = 0

    def attend(self) -> None:
        self._has_work.set()

    def rest(self) -> None:
        self._has_work.clear()

    def run(self) -> None:
        while True:
            self._has_work.wait()
            try:
                self._claim_ahead_until(monotonic() + _TICK_SECONDS)
                self._tick()
            except GaveUp:
                return
            except BaseException as error:  # noqa: BLE001 - what it had in hand is only sure to be settled if we end
                events.slot_failed(error)
                os._exit(1)

    def _claim_ahead_until(self, tick: float) -> None:
        while (left := tick - monotonic()) > 0:
            if self._claims.wait_for_plan(left):
                self._claims.make_planned()

    def _tick(self) -> None:
        patience = 0.0 if self._board.is_draining else _PATIENCE_SECONDS
        for claim in self._coroutines.take_back(patience):
            self._batch.give_back(claim)
        if self._batch.wait > patience:
            self._batch.release_waiting()
        if self._batch.age > patience and self._batch.has_ended:
            self._ledger.exchange(0)
        self._ticks += 1
        if self._ticks % _TICKS_BETWEEN_REPORTS == 0:
            self._ledger.report()

"""The warden: a thread of the worker's main process that looks after the slots, whatever the database does.

It stops what runs past its deadline or the shutdown's grace (first by the soft signal, then by SIGKILL), ends what a
dead slot left running, and has the worker end when that can do nothing any more. It lives outside the slots, so a task
that hogs its interpreter cannot fake a death. What needs the database is the clerk's.
"""

import os
import signal
import threading
from collections.abc import Callable
from time import monotonic

from steeple.domain.job import Claim
from steeple.settings import Settings
from steeple.telemetry import events
from steeple.worker.board import Board, Seat, Stop
from steeple.worker.lifelines import Cut, Lifeline, Lifelines
from steeple.worker.stopping import Stopping, send

_TICK_SECONDS = 0.1
_QUIET_TICK_SECONDS = 0.2
"""While no slot is at work: how late the first look at a task may be, of an hour's or a second's deadline."""


class Warden(threading.Thread):
    """``end_worker`` ends all as SIGTERM would."""

    def __init__(
        self, name: str, board: Board, settings: Settings, stopping: Stopping, end_worker: Callable[[], None]
    ) -> None:
        super().__init__(name="warden", daemon=True)
        self._worker = name
        self._board = board
        self._settings = settings
        self._stopping = stopping
        self._end_worker = end_worker
        self.lifelines = Lifelines()
        self.cut: Cut | None = None
        """Why the worker stopped by itself, if it did."""
        self.is_stirring = threading.Event()
        """Set unless all is quiet: no slot is at work or dead, and none is to end."""
        self._buried: dict[int, int] = {}
        self._drain_since: float | None = None
        self._is_closing = threading.Event()

    def drain(self) -> None:
        """No more claims; running tasks have the shutdown grace. Safe to call from a signal handler."""
        self._drain_since = self._drain_since or monotonic()
        self._board.drain()

    def hurry(self) -> None:
        """End the grace now."""
        self._drain_since = monotonic() - self._settings.shutdown_grace

    def close(self) -> None:
        """After the slots have ended."""
        self._is_closing.set()
        self.join()
        self._bury_the_dead()

    def is_buried(self, seat: Seat) -> bool:
        """The slot is dead, and nothing that it started runs on."""
        return self._buried.get(seat.number) == seat.pid != 0

    def run(self) -> None:
        while not self._is_closing.wait(_TICK_SECONDS if self.is_stirring.is_set() else _QUIET_TICK_SECONDS):
            try:
                self._tick()
            except Exception as error:  # noqa: BLE001 - nobody else looks after the slots
                events.warden_failed(error)

    def _tick(self) -> None:
        self._look_whether_all_is_quiet()
        self._look_at_the_slots()
        self._bury_the_dead()
        self._look_at_the_lifelines()

    def _look_whether_all_is_quiet(self) -> None:
        if self._board.is_draining or any(seat.is_at_work or seat.is_deserted() for seat in self._board.seats):
            self.is_stirring.set()
        else:
            self.is_stirring.clear()

    def _look_at_the_slots(self) -> None:
        now = monotonic()
        drained_for = 0.0 if self._drain_since is None else now - self._drain_since
        is_grace_over = self._drain_since is not None and drained_for >= self._settings.shutdown_grace
        present: set[Claim] = set()
        for seat in self._board.seats:
            is_alive = not seat.is_deserted()
            for place, running in seat.running():
                present.add(running.claim)
                if not is_alive:
                    continue
                if now >= running.deadline:
                    self._stopping.ask(seat, place, running, Stop.TIMEOUT)
                elif is_grace_over:
                    self._stopping.ask(seat, place, running, Stop.SHUTDOWN)
                self._stopping.kill_if_deaf(seat, running)
            if is_alive and seat.is_at_work and drained_for >= self._longest_drain:
                send(seat.pid, signal.SIGKILL)  # it waits for a database that does not answer
        self._stopping.keep_only(present, now)

    @property
    def _longest_drain(self) -> float:
        """Seconds: tasks and the slots' own attempts to write have the grace each, one beginning after the other."""
        return 2 * self._settings.shutdown_grace + self._settings.kill_after

    def _bury_the_dead(self) -> None:
        """Once each: by the time that its jobs are settled, its number may be another process's."""
        for seat in self._board.seats:
            if not seat.pid:
                self._buried.pop(seat.number, None)
            if not seat.is_deserted() or self.is_buried(seat):
                continue
            _kill_group(seat.pid)
            running = [each.claim for _, each in seat.running()]
            if not self._stopping.was_killed(seat) and not self._board.is_draining:
                events.slot_died(seat.number, seat.pid, running)
            self._buried[seat.number] = seat.pid

    def _look_at_the_lifelines(self) -> None:
        """A worker that has been able to do nothing for long ends, for its supervisor to start it again."""
        self.lifelines.note(Lifeline.CLAIMS, holds=not any(seat.is_failing for seat in self._board.seats))
        cut = self.lifelines.longest_cut()
        if cut is not None and cut.seconds >= self._settings.cut_off_after and not self._board.is_draining:
            events.worker_cut_off(self._worker, cut.line, cut.seconds)
            self.cut = cut
            self._end_worker()


def _kill_group(pid: int) -> None:
    """End what the slot's tasks left running. The group cannot be another's while a member of it lives."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody is left in it
        return

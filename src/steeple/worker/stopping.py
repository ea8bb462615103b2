"""Which running tasks were asked to stop: first by the soft signal, then, if they do not heed it, by SIGKILL."""

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

from steeple.domain.job import Claim
from steeple.store.stops import StopNote, StopReason
from steeple.telemetry import events
from steeple.worker.board import Place, Running, Seat, Stop
from steeple.worker.interrupts import SOFT_SIGNAL

_REASONS = {Stop.CANCEL: StopReason.CANCEL, Stop.TIMEOUT: StopReason.TIMEOUT}
"""What is noted on a job; one that a shutdown cut short starts anew."""


@dataclass(frozen=True)
class _Asked:
    """Since when a task should stop, when it was told and when killed, by the monotonic clock."""

    stop: Stop
    since: float
    at: float
    killed_at: float | None = None


class Stopping:
    """The warden asks for deadlines and shutdowns, the clerk for cancellations, each in a thread of its own."""

    def __init__(self, kill_after: float) -> None:
        self._kill_after = kill_after
        self._lock = threading.Lock()
        self._asked: dict[Claim, _Asked] = {}
        self._unwritten: dict[Claim, _Asked] = {}
        self._killed: set[int] = set()

    def ask(self, seat: Seat, place: Place, running: Running, stop: Stop) -> None:
        """Send the soft signal, once per claim."""
        with self._lock:
            if running.claim in self._asked:
                return
            now = monotonic()
            self._note(running.claim, _Asked(stop, running.deadline if stop is Stop.TIMEOUT else now, now))
        place.ask_to_stop(running.claim, stop)
        events.stop_asked(running.claim, stop.name.lower())
        send(seat.pid, SOFT_SIGNAL)

    def kill_if_deaf(self, seat: Seat, running: Running) -> None:
        """Kill the slot of a task that was asked long enough ago."""
        with self._lock:
            asked = self._asked.get(running.claim)
            if asked is None or monotonic() - asked.at < self._kill_after:
                return
            is_first = seat.number not in self._killed
            self._killed.add(seat.number)
            if asked.killed_at is None:
                self._note(running.claim, replace(asked, killed_at=monotonic()))
        if is_first:
            events.slot_killed(seat.number, seat.pid, running.claim, asked.stop.name.lower())
        send(seat.pid, signal.SIGKILL)

    def keep_only(self, running: set[Claim], looked_at: float) -> None:
        """Forget claims that no slot had under way at that time."""
        with self._lock:
            self._asked = {
                claim: asked for claim, asked in self._asked.items() if claim in running or asked.at >= looked_at
            }

    def why(self, claims: Sequence[Claim]) -> dict[Claim, Stop]:
        """Which of these were asked to stop."""
        with self._lock:
            return {claim: self._asked[claim].stop for claim in claims if claim in self._asked}

    def was_killed(self, seat: Seat) -> bool:
        return seat.number in self._killed

    def settled(self, seat: Seat) -> None:
        """Another slot may sit down there."""
        with self._lock:
            self._killed.discard(seat.number)

    def notes(self) -> list[StopNote]:
        """What has yet to be written of how tasks were stopped."""
        with self._lock:
            now = monotonic()
            return [_stop_note(claim, asked, now) for claim, asked in self._unwritten.items()]

    def written(self, notes: Sequence[StopNote]) -> None:
        """Stages that were reached meanwhile are kept for the next time."""
        with self._lock:
            for note in notes:
                asked = self._unwritten[note.claim]
                if (asked.killed_at is None) == (note.killed_ago is None):
                    del self._unwritten[note.claim]

    def _note(self, claim: Claim, asked: _Asked) -> None:
        self._asked[claim] = asked
        if asked.stop in _REASONS:
            self._unwritten[claim] = asked


def send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it died just now; that is seen at the next look
        return


def _stop_note(claim: Claim, asked: _Asked, now: float) -> StopNote:
    killed_ago = None if asked.killed_at is None else now - asked.killed_at
    return StopNote(claim, _REASONS[asked.stop], now - asked.since, now - asked.at, killed_ago)

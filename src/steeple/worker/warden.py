"""The warden: a thread of the worker's main process that looks after the slots.

It beats the worker's heart, passes on cancellations and deadlines (first the soft signal, then SIGKILL), and settles
the jobs of a slot that died. It lives outside the slots, so a task that hogs its interpreter cannot fake a death.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic

from steeple.domain.job import Claim
from steeple.domain.statistics import CounterName
from steeple.settings import Settings
from steeple.store import counters, stops, transitions, workers
from steeple.store.engine import DatabaseError, Engine, briefly, in_transaction, is_away
from steeple.store.stops import StopNote, StopReason
from steeple.store.workers import NewWorker, Watched
from steeple.submission import new_id
from steeple.telemetry import events
from steeple.worker.board import Board, Place, Running, Seat, Stop
from steeple.worker.interrupts import SOFT_SIGNAL
from steeple.worker.lifelines import Cut, Lifeline, Lifelines
from steeple.worker.settling import Death, Policies, settle

_TICK_SECONDS = 0.1
_WATCH_SECONDS = 0.5
"""How often running jobs are looked up for cancellations; nothing is looked up while nothing runs."""
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class _Asked:
    """A task was asked to stop: since when it should, when it was told and killed, by the monotonic clock."""

    stop: Stop
    since: float
    at: float
    killed_at: float | None = None


class Warden(threading.Thread):
    """``end_worker`` ends all as SIGTERM would."""

    def __init__(
        self,
        engine: Engine,
        board: Board,
        worker: NewWorker,
        settings: Settings,
        policies: Policies,
        end_worker: Callable[[], None],
    ) -> None:
        super().__init__(name="warden", daemon=True)
        self._engine = engine
        # A heartbeat alone is a transaction of its own: a process that is stopped right after it holds no lock on its
        # row, which would keep the schedulers from declaring it dead.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._board = board
        self._worker = worker
        self._settings = settings
        self._policies = policies
        self._end_worker = end_worker
        self.lifelines = Lifelines()
        self.cut: Cut | None = None
        """Why the worker stopped by itself, if it did."""
        self._asked: dict[Claim, _Asked] = {}
        self._unwritten: dict[Claim, _Asked] = {}
        self._killed: set[int] = set()
        self._buried: set[int] = set()
        self._database_at = 0.0
        self._drain_since: float | None = None
        self._is_drain_told = False
        self._forgotten: set[Claim] = set()
        self._counts: Counter[CounterName] = Counter()
        self._counts_lock = threading.Lock()
        self._is_closing = threading.Event()
        self._beat_at = self._audit_at = monotonic() + settings.heartbeat_interval
        self._watch_at = 0.0

    def register(self) -> None:
        """Write the worker's row. Raises what the database does."""
        in_transaction(self._engine, lambda connection: workers.register(connection, self._worker))
        self._board.worker_id = self._worker.id

    def drain(self) -> None:
        """No more claims; running tasks have the shutdown grace. Safe to call from a signal handler."""
        self._drain_since = self._drain_since or monotonic()
        self._board.drain()

    def hurry(self) -> None:
        """End the grace now."""
        self._drain_since = monotonic() - self._settings.shutdown_grace

    def count(self, name: CounterName) -> None:
        """Add one to a total; it is written with the next heartbeat."""
        with self._counts_lock:
            self._counts[name] += 1

    def close(self) -> None:
        """After the slots have ended: settle what they left, and end the worker's row."""
        self._is_closing.set()
        self.join()
        self._attempt(self._write_stops)
        self._settle_the_dead()
        self._attempt(self._write_counts)
        self._attempt(lambda: in_transaction(self._engine, lambda connection: workers.end(connection, self._worker.id)))

    def run(self) -> None:
        while not self._is_closing.wait(_TICK_SECONDS):
            self._tick()

    def _attempt(self, step: Callable[[], object]) -> None:
        """Do it; if the database is away, it and all that need it come again in a second."""
        if monotonic() < self._database_at:
            return
        try:
            step()
        except DatabaseError as error:
            events.database_failed(error)
            if is_away(error):
                self.lifelines.note(Lifeline.DATABASE, holds=False)
                self._database_at = monotonic() + _RETRY_SECONDS
        except Exception as error:  # noqa: BLE001 - nobody else looks after the slots
            events.warden_failed(error)

    def _tick(self) -> None:
        """One thing after the other, the heartbeat first. What fails, or would wait too long, holds up no other."""
        now = monotonic()
        self._look_at_the_slots(now)
        self._look_at_the_lifelines()
        self._attempt(self._write_stops)
        if now >= self._beat_at or (self._board.is_draining and not self._is_drain_told):
            self._attempt(lambda: self._beat(now))
        self._settle_the_dead()
        if now >= self._watch_at and any(seat.running() for seat in self._board.seats):
            self._attempt(lambda: self._watch(now))
        if now >= self._audit_at:
            self._audit_at = now + self._settings.heartbeat_interval
            self._attempt(self._audit)
            self._attempt(self._write_counts)

    def _beat(self, now: float) -> None:
        draining = self._board.is_draining
        cut = self.lifelines.longest_cut()
        trouble = None if cut is None else str(cut)
        is_alive = in_transaction(
            self._single,
            lambda connection: workers.beat(connection, self._worker.id, draining=draining, trouble=trouble),
        )
        self._beat_at = now + self._settings.heartbeat_interval
        self.lifelines.note(Lifeline.DATABASE, holds=True)
        if draining and not self._is_drain_told:
            events.worker_draining(self._worker.name)
        self._is_drain_told = draining
        if is_alive:
            self._board.worker_id = self._worker.id  # also if the reply to its registration was lost
        else:
            self._begin_anew(now)

    def _look_at_the_lifelines(self) -> None:
        """A worker that has been able to do nothing for long ends, for its supervisor to start it again."""
        self.lifelines.note(Lifeline.CLAIMS, holds=not any(seat.is_failing for seat in self._board.seats))
        cut = self.lifelines.longest_cut()
        if cut is not None and cut.seconds >= self._settings.cut_off_after and not self._board.is_draining:
            events.worker_cut_off(self._worker.name, cut.line, cut.seconds)
            self.cut = cut
            self._end_worker()

    def _write_counts(self) -> None:
        with self._counts_lock:
            counts, self._counts = self._counts, Counter()
        if counts:
            briefly(self._engine, lambda connection: counters.add(connection, counts))

    def _begin_anew(self, now: float) -> None:
        """We were taken for dead, and our jobs were taken away: stop them, and be another worker."""
        events.worker_taken_for_dead(self._worker.name)
        for seat in self._board.seats:
            for place, running in seat.running():
                self._ask(seat, place, running, Stop.SHUTDOWN, now)
        self._worker = replace(self._worker, id=new_id())
        self.register()

    def _audit(self) -> None:
        """Compare what the slots run with what the database holds for us: a crash of its server can lose either side.

        A task whose claim is gone is stopped. An old claim of a slot that is not at work, at two audits in a row, goes
        back.
        """
        asked_at = monotonic()
        watched = self._read_watched()
        held = {each.claim for each in watched}
        forgotten = {each.claim for each in watched if each.is_old and not self._board.seats[each.slot].is_at_work}
        for seat in self._board.seats:
            for place, running in seat.running():
                forgotten.discard(running.claim)
                if running.claim not in held and running.began < asked_at:
                    self._ask(seat, place, running, Stop.SHUTDOWN, asked_at)
        if lost := forgotten & self._forgotten:
            briefly(self._engine, lambda connection: transitions.release(connection, list(lost)))
            events.claims_forgotten(lost)
        self._forgotten = forgotten

    def _read_watched(self) -> list[Watched]:
        return in_transaction(self._engine, lambda connection: workers.watched(connection, self._worker.id))

    def _watch(self, now: float) -> None:
        """Look for running jobs that somebody cancelled."""
        cancelled = {each.claim for each in self._read_watched() if each.is_cancelled}
        for seat in self._board.seats:
            for place, running in seat.running():
                if running.claim in cancelled:
                    self._ask(seat, place, running, Stop.CANCEL, now)
        self._watch_at = now + _WATCH_SECONDS

    def _look_at_the_slots(self, now: float) -> None:
        is_grace_over = self._drain_since is not None and now - self._drain_since >= self._settings.shutdown_grace
        present: dict[Claim, _Asked] = {}
        for seat in self._board.seats:
            is_alive = not seat.is_deserted()
            for place, running in seat.running():
                if is_alive and now >= running.deadline:
                    self._ask(seat, place, running, Stop.TIMEOUT, now)
                elif is_alive and is_grace_over:
                    self._ask(seat, place, running, Stop.SHUTDOWN, now)
                if (asked := self._asked.get(running.claim)) is not None:
                    if is_alive:
                        self._kill_if_deaf(seat, running, asked, now)
                    present[running.claim] = self._asked[running.claim]
        self._asked = present

    def _ask(self, seat: Seat, place: Place, running: Running, stop: Stop, now: float) -> None:
        """Send the soft signal, once per claim."""
        if running.claim not in self._asked:
            place.ask_to_stop(running.claim, stop)
            since = running.deadline if stop is Stop.TIMEOUT else now
            self._note(running.claim, _Asked(stop, since, now))
            events.stop_asked(running.claim, stop.name.lower())
            _signal(seat.pid, SOFT_SIGNAL)

    def _kill_if_deaf(self, seat: Seat, running: Running, asked: _Asked, now: float) -> None:
        if now - asked.at < self._settings.kill_after:
            return
        if seat.number not in self._killed:
            events.slot_killed(seat.number, seat.pid, running.claim, asked.stop.name.lower())
            self._killed.add(seat.number)
        _signal(seat.pid, signal.SIGKILL)
        if asked.killed_at is None:
            self._note(running.claim, replace(asked, killed_at=now))

    def _note(self, claim: Claim, asked: _Asked) -> None:
        self._asked[claim] = asked
        if asked.stop in _REASONS:
            self._unwritten[claim] = asked

    def _write_stops(self) -> None:
        if not self._unwritten:
            return
        now = monotonic()
        notes = [_stop_note(claim, asked, now) for claim, asked in self._unwritten.items()]
        briefly(self._engine, lambda connection: stops.note(connection, notes))
        self._unwritten.clear()

    def _settle_the_dead(self) -> None:
        for seat in self._board.seats:
            if seat.is_deserted():
                self._bury(seat)
                self._attempt(partial(self._settle, seat))

    def _bury(self, seat: Seat) -> None:
        """Once: by the time that its jobs are settled, its number may be another process's."""
        if seat.number in self._buried:
            return
        self._buried.add(seat.number)
        _kill_group(seat.pid)
        running = [each.claim for _, each in seat.running()]
        if seat.number not in self._killed and not self._board.is_draining:
            events.slot_died(seat.number, seat.pid, running)

    def _settle(self, seat: Seat) -> None:
        running = [each for _, each in seat.running()]
        stops = {each.claim: self._asked[each.claim].stop for each in running if each.claim in self._asked}
        death = Death(self._worker.id, seat.number, running, stops, was_killed=seat.number in self._killed)
        settle(self._engine, death, self._policies)
        self._killed.discard(seat.number)
        self._buried.discard(seat.number)
        seat.clear()


_REASONS = {Stop.CANCEL: StopReason.CANCEL, Stop.TIMEOUT: StopReason.TIMEOUT}
"""What is noted on a job; one that a shutdown cut short starts anew."""


def _stop_note(claim: Claim, asked: _Asked, now: float) -> StopNote:
    killed_ago = None if asked.killed_at is None else now - asked.killed_at
    return StopNote(claim, _REASONS[asked.stop], now - asked.since, now - asked.at, killed_ago)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it died just now; the next tick settles that
        return


def _kill_group(pid: int) -> None:
    """End what the slot's tasks left running. The group cannot be another's while a member of it lives."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody is left in it
        return

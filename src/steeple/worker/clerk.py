"""The clerk: a thread of the worker's main process that reads and writes for it what stands in the database.

Heartbeats, cancellations, how tasks were stopped, and the jobs of slots that died. It may have to wait for the
database; the warden beside it never does.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic

from steeple.domain.job import Claim
from steeple.domain.statistics import CounterName
from steeple.settings import Settings
from steeple.store import counters, stops, transitions, workers
from steeple.store.engine import DatabaseError, Engine, briefly, in_transaction, is_away
from steeple.store.workers import NewWorker, Watched
from steeple.submission import new_id
from steeple.telemetry import events
from steeple.worker.board import Board, Seat, Stop
from steeple.worker.lifelines import Lifeline
from steeple.worker.settling import Death, Policies, settle
from steeple.worker.stopping import Stopping
from steeple.worker.warden import Warden

_TICK_SECONDS = 0.1
_WATCH_SECONDS = 0.5
"""How often running jobs are looked up for cancellations; nothing is looked up while nothing runs."""
_RETRY_SECONDS = 1.0
_LAST_WORDS_SECONDS = 10.0
"""How long the end of a worker waits for a database that does not answer."""


class Clerk(threading.Thread):
    def __init__(
        self,
        engine: Engine,
        board: Board,
        worker: NewWorker,
        settings: Settings,
        policies: Policies,
        stopping: Stopping,
        warden: Warden,
    ) -> None:
        super().__init__(name="clerk", daemon=True)
        self._engine = engine
        # A heartbeat alone is a transaction of its own: a process that is stopped right after it holds no lock on its
        # row, which would keep the schedulers from declaring it dead.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._board = board
        self._worker = worker
        self._settings = settings
        self._policies = policies
        self._stopping = stopping
        self._warden = warden
        self._lifelines = warden.lifelines
        self._database_at = 0.0
        self._is_drain_told = False
        self._suspects: dict[Claim, int] = {}
        self._counts: Counter[CounterName] = Counter()
        self._counts_lock = threading.Lock()
        self._is_closing = threading.Event()
        self._beat_at = self._audit_at = monotonic() + settings.heartbeat_interval
        self._watch_at = 0.0

    def register(self) -> None:
        """Write the worker's row. Raises what the database does."""
        in_transaction(self._engine, lambda connection: workers.register(connection, self._worker))
        self._board.worker_id = self._worker.id

    def count(self, name: CounterName) -> None:
        """Add one to a total; it is written with the next heartbeat."""
        with self._counts_lock:
            self._counts[name] += 1

    def close(self) -> None:
        """After the slots have ended and the warden is closed: settle what they left, and end the worker's row."""
        self._is_closing.set()
        self._warden.is_stirring.set()
        self.join(_LAST_WORDS_SECONDS)

    def run(self) -> None:
        while not self._is_closing.wait(_TICK_SECONDS):
            self._tick()
            self._rest()
        self._write_stops()
        self._settle_the_dead()
        self._attempt(self._write_counts)
        self._attempt(lambda: in_transaction(self._engine, lambda connection: workers.end(connection, self._worker.id)))

    def _rest(self) -> None:
        """While all is quiet, there is nothing to do before the next heartbeat, or the next audit."""
        if not self._stopping.notes():
            self._warden.is_stirring.wait(max(0.0, min(self._beat_at, self._audit_at) - monotonic()))

    def _attempt(self, step: Callable[[], object]) -> None:
        """Do it; if the database is away, it and all that need it come again in a second."""
        if monotonic() < self._database_at:
            return
        try:
            step()
        except DatabaseError as error:
            events.database_failed(error)
            if is_away(error):
                self._database_at = monotonic() + _RETRY_SECONDS
        except Exception as error:  # noqa: BLE001 - nobody else does what the clerk does
            events.clerk_failed(error)

    def _tick(self) -> None:
        """One thing after the other, the heartbeat first. What fails, or would wait too long, holds up no other."""
        now = monotonic()
        if now >= self._beat_at or (self._board.is_draining and not self._is_drain_told):
            self._attempt(self._beat)
        self._write_stops()
        self._settle_the_dead()
        if now >= self._watch_at and any(seat.running() for seat in self._board.seats):
            self._attempt(self._watch)
        if now >= self._audit_at:
            self._audit_at = now + self._settings.heartbeat_interval
            self._attempt(self._audit)
            self._attempt(self._write_counts)

    def _beat(self) -> None:
        """The database counts as cut off from the first heartbeat that does not get through, or hangs."""
        now = monotonic()
        draining = self._board.is_draining
        cut = self._lifelines.longest_cut()
        trouble = None if cut is None else str(cut)
        self._lifelines.note(Lifeline.DATABASE, holds=False)
        is_alive = in_transaction(
            self._single,
            lambda connection: workers.beat(connection, self._worker.id, draining=draining, trouble=trouble),
        )
        self._lifelines.note(Lifeline.DATABASE, holds=True)
        self._beat_at = now + self._settings.heartbeat_interval
        if draining and not self._is_drain_told:
            events.worker_draining(self._worker.name)
        self._is_drain_told = draining
        if is_alive:
            self._board.worker_id = self._worker.id  # also if the reply to its registration was lost
        else:
            self._begin_anew()

    def _write_counts(self) -> None:
        with self._counts_lock:
            counts, self._counts = self._counts, Counter()
        if counts:
            briefly(self._engine, lambda connection: counters.add(connection, counts))

    def _write_stops(self) -> None:
        """The note comes right after the stop, and often just before the task's outcome."""
        if not (notes := self._stopping.notes()):
            return

        def write() -> None:
            briefly(self._engine, lambda connection: stops.note(connection, notes))
            self._stopping.written(notes)

        self._attempt(write)

    def _begin_anew(self) -> None:
        """We were taken for dead, and our jobs were taken away: stop them, and be another worker."""
        events.worker_taken_for_dead(self._worker.name)
        for seat in self._board.seats:
            for place, running in seat.running():
                self._stopping.ask(seat, place, running, Stop.SHUTDOWN)
        self._worker = replace(self._worker, id=new_id())
        self.register()

    def _audit(self) -> None:
        """Compare what the slots run with what the database holds for us: a crash of its server can lose either side.

        A task whose claim is gone is stopped. An old claim that does not run, at two audits in a row, goes back if its
        slot is not at work, or has written between them all that had ended: it does not know of that claim. The second
        of two exchanges is sure to have begun after the first audit.
        """
        asked_at = monotonic()
        watched = self._read_watched()
        held = {each.claim for each in watched}
        suspects = {each.claim: self._board.seats[each.slot] for each in watched if each.is_old}
        for seat in self._board.seats:
            for place, running in seat.running():
                suspects.pop(running.claim, None)
                if running.claim not in held and running.began < asked_at:
                    self._stopping.ask(seat, place, running, Stop.SHUTDOWN)
        if lost := [claim for claim, at in suspects.items() if self._is_forgotten(claim, at)]:
            briefly(self._engine, lambda connection: transitions.release(connection, lost))
            events.claims_forgotten(lost)
        self._suspects = {claim: self._suspects.get(claim, at.exchanges) for claim, at in suspects.items()}

    def _is_forgotten(self, claim: Claim, seat: Seat) -> bool:
        before = self._suspects.get(claim)
        return before is not None and (not seat.is_at_work or seat.exchanges > before + 1)

    def _read_watched(self) -> list[Watched]:
        return in_transaction(self._engine, lambda connection: workers.watched(connection, self._worker.id))

    def _watch(self) -> None:
        """Look for running jobs that somebody cancelled."""
        cancelled = {each.claim for each in self._read_watched() if each.is_cancelled}
        for seat in self._board.seats:
            for place, running in seat.running():
                if running.claim in cancelled:
                    self._stopping.ask(seat, place, running, Stop.CANCEL)
        self._watch_at = monotonic() + _WATCH_SECONDS

    def _settle_the_dead(self) -> None:
        for seat in self._board.seats:
            if seat.is_deserted() and self._warden.is_buried(seat):
                self._attempt(partial(self._settle, seat))

    def _settle(self, seat: Seat) -> None:
        running = [each for _, each in seat.running()]
        why = self._stopping.why([each.claim for each in running])
        death = Death(self._worker.id, seat.number, running, why, was_killed=self._stopping.was_killed(seat))
        settle(self._engine, death, self._policies)
        self._stopping.settled(seat)
        seat.clear()

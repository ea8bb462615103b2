"""What a slot writes to the database and reads from it; goes on trying while the database is away.

One lock for both threads of the slot: when a reply is lost, whatever the database holds for the slot and the slot does
not know of can only be what the lost reply would have said.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from steeple.domain.job import Claim, JobError, Reason
from steeple.domain.outcome import Verdict
from steeple.domain.priority import Lane
from steeple.domain.states import State
from steeple.domain.statistics import CounterName
from steeple.store import counters, transitions
from steeple.store.engine import Connection, DatabaseError, Engine, is_data_error
from steeple.store.exchange import Claimant, Exchanged, exchange
from steeple.store.limits import lock_keys_of
from steeple.store.reports import store_lines, store_progress
from steeple.store.ruled_claims import Ruled, claim_by_rules
from steeple.telemetry import events
from steeple.worker.batch import Batch, Ended
from steeple.worker.reporter import Pending, SlotReporter

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class GaveUp(Exception):
    """The worker is shutting down and the database is away; what was not written is done again elsewhere."""


class _Wanted(NamedTuple):
    """What to claim."""

    limit: int
    marks: str | None = None
    ahead: bool = False
    passed: Sequence[Lane] = ()


_NOTHING = _Wanted(0)


class Ledger:
    """``known`` names the claims that the slot knows of beside those that it has just taken from the batch.

    ``must_give_up`` tells when to stop trying. ``note_exchange`` is told whether one is done, or failed
    for now.
    """

    def __init__(
        self,
        engine: Engine,
        batch: Batch,
        claimant: Callable[[], Claimant],
        reporter: SlotReporter,
        known: Callable[[], set[Claim]],
        must_give_up: Callable[[], bool],
        note_exchange: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        # A statement alone is a transaction of its own: one round trip.
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._batch = batch
        self._claimant = claimant
        self._reporter = reporter
        self._known = known
        self._must_give_up = must_give_up
        self._note_exchange = note_exchange
        self._lock = threading.Lock()
        self._is_in_doubt = False
        """A reply was lost, and what the database holds for the slot has not been looked at since."""

    def exchange(
        self, limit: int, marks: str | None = None, *, ahead: bool = False, passed: Sequence[Lane] = ()
    ) -> Exchanged:
        """Write what has ended, give back what is released, claim up to ``limit`` jobs. Raises ``GaveUp``.

        With the ``marks`` of an earlier claim, from there on. ``ahead``: only jobs that need not run alone. ``passed``:
        lanes in which rules let nothing start.
        """
        with self._lock:
            left, released = self._batch.take()
            is_refused = False
            for _ in self._tries():
                try:
                    if self._is_in_doubt:
                        left = self._still_held(left, is_claiming=limit > 0)
                    if is_refused:
                        self._write_one_by_one(left)
                        left = []
                    exchanged = self._exchange(left, released, _Wanted(limit, marks, ahead, passed))
                    self._note_exchange(True)
                    return exchanged
                except DatabaseError as error:
                    events.database_failed(error)
                    self._note_exchange(False)
                    self._is_in_doubt = True
                    is_refused = is_data_error(error)
            raise GaveUp

    def claim_by_rules(self, lane: Lane, limit: int, until: datetime | None, *, ahead: bool = False) -> Ruled:
        """Claim up to ``limit`` jobs of a lane that has jobs with limits or fair keys. Raises ``GaveUp``.

        What has ended is written by exchanges alone.
        """
        with self._lock:
            for _ in self._tries():
                try:
                    if self._is_in_doubt:
                        self._still_held([], is_claiming=True)
                    with self._engine.begin() as connection:
                        ruled = claim_by_rules(connection, self._claimant(), lane, limit, until=until, ahead=ahead)
                    self._note_exchange(True)
                    return ruled
                except DatabaseError as error:
                    events.database_failed(error)
                    self._note_exchange(False)
                    self._is_in_doubt = True
            raise GaveUp

    def report(self) -> None:
        """Write progress and log lines; what the database does not take now stays for the next time."""
        if not self._reporter.has_reports:
            return
        with self._lock:
            try:
                with self._engine.begin() as connection:
                    pending = self._write_reports(connection)
                self._reporter.settle(pending)
            except DatabaseError as error:
                events.database_failed(error)
                self._is_in_doubt = True

    def _exchange(self, ended: Sequence[Ended], released: Sequence[Claim], wanted: _Wanted) -> Exchanged:
        if released or self._reporter.has_reports:
            exchanged = self._exchange_in_transaction(ended, released, wanted)
        else:
            with self._alone.connect() as connection:
                exchanged = self._send(connection, ended, wanted)
        if exchanged.stale:
            self._tell_stale(exchanged.stale)
        return exchanged

    def _exchange_in_transaction(self, ended: Sequence[Ended], released: Sequence[Claim], wanted: _Wanted) -> Exchanged:
        with self._engine.begin() as connection:
            pending = self._write_reports(connection)
            if released and ended:
                lock_keys_of(connection, [claim.id for claim in (*released, *(each.claim for each in ended))])
            if released:
                transitions.release(connection, released)
            exchanged = self._send(connection, ended, wanted)
        self._reporter.settle(pending)
        return exchanged

    def _send(self, connection: Connection, ended: Sequence[Ended], wanted: _Wanted) -> Exchanged:
        now = monotonic()
        finishes = [each.finish(now) for each in ended]
        return exchange(
            connection,
            finishes,
            self._claimant(),
            wanted.limit,
            marks=wanted.marks,
            ahead=wanted.ahead,
            passed=wanted.passed,
        )

    def _tell_stale(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            events.stale_finish(claim)
        try:
            with self._engine.begin() as connection:
                counters.add(connection, {CounterName.STALE_FINISHES: len(claims)})
        except DatabaseError as error:  # a total that is off by some must not undo the exchange
            events.database_failed(error)

    def _write_reports(self, connection: Connection) -> Pending:
        pending = self._reporter.pending()
        if pending.progress:
            store_progress(connection, pending.as_progress())
        if pending.lines:
            store_lines(connection, pending.as_lines())
        return pending

    def _write_one_by_one(self, ended: Sequence[Ended]) -> None:
        """One row that PostgreSQL refuses must not lose the others: it fails, as a bad result."""
        for each in ended:
            try:
                self._exchange([each], [], _NOTHING)
            except DatabaseError as error:
                if not is_data_error(error):
                    raise
                self._exchange([_spoiled(each, error)], [], _NOTHING)

    def _still_held(self, ended: Sequence[Ended], *, is_claiming: bool) -> list[Ended]:
        """What of ``ended`` has yet to be written. A slot about to claim gives back what it never heard of."""
        claimant = self._claimant()
        with self._engine.begin() as connection:
            held = set(transitions.held_by_slot(connection, claimant.worker_id, claimant.slot))
            unheard_of = held - {each.claim for each in ended} - self._known()
            if unheard_of and is_claiming:
                transitions.release(connection, list(unheard_of))
        self._is_in_doubt = not is_claiming
        return [each for each in ended if each.claim in held]

    def _tries(self) -> Iterator[None]:
        """Once at once, then after pauses that grow."""
        pause = _FIRST_PAUSE
        yield
        while not self._must_give_up():
            threading.Event().wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause = min(pause * 2, _LONGEST_PAUSE)
            yield


def _spoiled(ended: Ended, error: DatabaseError) -> Ended:
    failure = JobError(type(error.orig).__name__, str(error.orig).splitlines()[0], Reason.BAD_RESULT)
    return Ended(ended.claim, Verdict(State.FAILED, error=failure), ended.began, ended.ended)

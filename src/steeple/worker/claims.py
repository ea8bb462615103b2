"""What a slot claims: when it has nothing to do, and ahead, beside the last that it runs, so as not to wait."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from time import monotonic

from steeple.domain.job import ClaimedJob
from steeple.domain.priority import Lane
from steeple.store.exchange import Exchanged
from steeple.worker.batch import Batch
from steeple.worker.board import Board
from steeple.worker.coroutines import Coroutines
from steeple.worker.ledger import Ledger
from steeple.worker.outlook import Outlook

_HOLD_SECONDS = 5.0
"""How long a slot claims nothing, to be free for a job that must run alone."""

_LEAD_TIMES = 2.0
_LEAD_SECONDS = 0.005
"""A claim ahead is made so long before it is needed, and as many times as long as the last one took."""


class Claims:
    """The main thread claims what it needs now, and plans a claim ahead; the attendant makes that when it is time.

    Never both at once: the main thread takes what was claimed ahead, or calls the plan off, before it claims itself.
    ``has_coroutines``: whether any task is ``async``.
    """

    def __init__(
        self, board: Board, batch: Batch, coroutines: Coroutines, ledger: Ledger, *, has_coroutines: bool
    ) -> None:
        self._board = board
        self._batch = batch
        self._coroutines = coroutines
        self._ledger = ledger
        self._has_coroutines = has_coroutines
        self._outlook = Outlook()
        self._lock = threading.Lock()
        self._ahead_size = 0
        self._ahead_at = inf
        self._has_changed = threading.Event()
        self._took = 0.0
        self._hold_until = 0.0

    def look_from_the_beginning(self) -> None:
        """Rely on nothing that an earlier claim has seen."""
        self._outlook.forget()

    def hold(self) -> None:
        """Claim nothing for a while as long as coroutines are under way, so that a job can run alone."""
        self._hold_until = monotonic() + _HOLD_SECONDS

    def room(self, size: int) -> int:
        """How many jobs of ``size`` to claim: no more than can be started, should they all be coroutines."""
        coroutines = self._coroutines
        if not self._has_coroutines:
            return size
        if coroutines.is_stuck or coroutines.is_exclusive or (coroutines.is_busy and monotonic() < self._hold_until):
            return 0
        waiting = self._batch.unstarted  # before the room: one that is started meanwhile counts twice, not never
        return max(0, min(size, coroutines.room - waiting))

    def now(self, limit: int) -> Exchanged | None:
        """Write what has ended and claim up to ``limit``. None if only a part of the lanes was looked at, in vain."""
        marks = self._outlook.marks() if limit else None
        exchanged = self._exchange(limit, marks, ahead=False)
        if marks is not None and not exchanged.jobs:
            self._outlook.forget()
            return None
        return exchanged

    def plan(self, end: float, size: int) -> None:
        """So many will be needed at the time of the monotonic clock at which the present batch should end."""
        with self._lock:
            self._ahead_size = size
            self._ahead_at = end - _LEAD_SECONDS - _LEAD_TIMES * self._took
        self._has_changed.set()

    def wait_for_plan(self, seconds: float) -> bool:
        """Until it is time for the claim that is planned, or at most so long; False if it is not."""
        self._has_changed.wait(min(seconds, max(0.0, self._ahead_at - monotonic())))
        self._has_changed.clear()
        return self._ahead_at <= monotonic()

    def make_planned(self) -> None:
        """Claim ahead what is planned, if it is time. No job that must run alone."""
        with self._lock:
            if self._ahead_at > monotonic():
                return
            self._ahead_at = inf
            limit = 0 if self._board.is_draining else self.room(self._ahead_size)
            if limit:
                exchanged = self._exchange(limit, self._outlook.marks(), ahead=True)
                self._batch.fill_ahead(exchanged.jobs)

    def take_ahead(self) -> Sequence[ClaimedJob]:
        """What was claimed ahead, now to be started. A plan that was not yet begun is off."""
        with self._lock:
            self._ahead_at = inf
            return self._batch.turn()

    def _exchange(self, limit: int, marks: str | None, *, ahead: bool) -> Exchanged:
        asked_at = monotonic()
        exchanged = self._ledger.exchange(limit, marks, ahead=ahead)
        if limit:
            self._took = monotonic() - asked_at
            self._outlook.learn(exchanged.marks, None if marks else self._took)
        return self._by_rules(exchanged, limit, marks, ahead=ahead) if limit else exchanged

    def _by_rules(self, exchanged: Exchanged, limit: int, marks: str | None, *, ahead: bool) -> Exchanged:
        """Where it is the turn of lanes whose jobs have limits or fair keys, from the first in which one may start.

        A lane that puts jobs aside may have others behind them; one that does not has none for us now.
        """
        passed: list[Lane] = []
        while exchanged.ruled is not None and not exchanged.jobs:
            ruled = self._ledger.claim_by_rules(exchanged.ruled, limit, exchanged.ruled_until, ahead=ahead)
            if ruled.jobs or ahead:
                return replace(exchanged, jobs=ruled.jobs)
            if not ruled.has_parked:
                passed.append(exchanged.ruled)
                following = self._ledger.exchange(limit, marks, passed=passed)
                exchanged = replace(following, has_let_go=exchanged.has_let_go or following.has_let_go)
        return exchanged

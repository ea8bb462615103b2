"""What a wake-up does: claim, run, finish and claim again, until nothing is due or the time slice is over."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from steeple.domain.job import Claim, ClaimedJob
from steeple.domain.outcome import Outcome, Verdict, decide
from steeple.domain.pacing import FIRST_CLAIM, next_claim_size
from steeple.domain.priority import Lane
from steeple.domain.retry import Retry
from steeple.store.exchange import Exchanged
from steeple.task import Task
from steeple.telemetry import events
from steeple.worker.attempt import Attempt
from steeple.worker.attendant import Attendant
from steeple.worker.batch import Batch, Ended
from steeple.worker.board import SYNC, Board, Seat
from steeple.worker.coroutines import Coroutines
from steeple.worker.ledger import Ledger
from steeple.worker.leftovers import end_leftovers
from steeple.worker.outlook import Outlook
from steeple.worker.perform import Performer
from steeple.worker.strangers import Strangers

_LOOK_AGAIN_SECONDS = 0.1
"""How often a slot with coroutines under way looks for more to do."""

_HOLD_SECONDS = 5.0
"""How long a slot claims nothing, to be free for a job that must run alone."""


@dataclass(frozen=True)
class Pace:
    """``slice``: seconds until Celery gets the slot back; ``largest``: the most jobs that one claim takes."""

    slice: float
    largest: int


@dataclass(frozen=True)
class Crew:
    """Those who do the work of one slot."""

    performer: Performer
    coroutines: Coroutines
    attendant: Attendant
    strangers: Strangers


class Drain:
    """The main thread of a slot, at work. It does not leave while coroutines are under way."""

    def __init__(
        self,
        board: Board,
        seat: Seat,
        batch: Batch,
        ledger: Ledger,
        crew: Crew,
        tasks: Mapping[str, Task[Any, Any]],
        pace: Pace,
    ) -> None:
        self._board = board
        self._seat = seat
        self._batch = batch
        self._ledger = ledger
        self._crew = crew
        self._tasks = tasks
        self._pace = pace
        self._outlook = Outlook()
        self._hold_until = 0.0
        self._has_coroutines = any(task.is_async for task in tasks.values())

    def run(self) -> Lane | None:
        """Work; the lane to be woken again if the slice ended with work left."""
        if self._board.is_draining:
            return None
        self._crew.attendant.attend()
        try:
            return self._run()
        finally:
            self._crew.attendant.rest()

    def _run(self) -> Lane | None:
        coroutines = self._crew.coroutines
        self._outlook.forget()
        until = monotonic() + self._pace.slice
        size = FIRST_CLAIM
        while True:
            is_busy = coroutines.is_busy
            is_over = self._board.is_draining or (monotonic() >= until and not is_busy)
            limit = 0 if is_over else self._room(size)
            if is_busy and not limit and not self._batch.has_ended:
                coroutines.wait(_LOOK_AGAIN_SECONDS)
                continue
            exchanged, is_partial = self._exchange(limit)
            if exchanged.jobs:
                size = self._work_through(exchanged.jobs, size)
            elif is_partial:
                self._outlook.forget()
            elif is_busy:
                coroutines.wait(_LOOK_AGAIN_SECONDS)
            elif not self._batch.has_ended:
                return exchanged.due if is_over and not self._board.is_draining else None

    def _exchange(self, limit: int) -> tuple[Exchanged, bool]:
        """Also tells whether only what was known of the lanes was looked at."""
        marks = self._outlook.marks() if limit else None
        asked_at = monotonic()
        exchanged = self._ledger.exchange(limit, marks)
        if limit:
            self._outlook.learn(exchanged.marks, None if marks else monotonic() - asked_at)
        return exchanged, marks is not None

    def note_end(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """What became of an attempt, to be written with the next exchange. Any thread of the slot may call it."""
        if outcome is None:
            self._batch.give_back(attempt.claim)
            return
        verdict = _verdict(attempt.job, outcome, attempt.task.defaults.retry)
        ended = Ended(attempt.claim, verdict, attempt.began, monotonic())
        events.attempt_ended(attempt.job, verdict, ended.ended - ended.began)
        self._batch.end(ended)

    def _room(self, size: int) -> int:
        """How many jobs to claim: no more than can be started, should they all be coroutines."""
        coroutines = self._crew.coroutines
        if not self._has_coroutines:
            return size
        if coroutines.is_stuck or coroutines.is_exclusive or (coroutines.is_busy and monotonic() < self._hold_until):
            return 0
        return min(size, coroutines.room)

    def _work_through(self, jobs: Sequence[ClaimedJob], size: int) -> int:
        """Run the claimed jobs, or set them going; the size of the next claim."""
        began = monotonic()
        self._batch.fill(jobs)
        while (job := self._batch.start_next()) is not None:
            self._start(job)
        took = monotonic() - began
        return next_claim_size(size, took, self._pace.largest) if len(jobs) >= size else size

    def _start(self, job: ClaimedJob) -> None:
        task = self._tasks.get(job.task)
        if task is None:
            self._judge_stranger(job)
        elif job.crashes and self._crew.coroutines.is_busy:
            # It may take its neighbours down with it. It runs when they have ended, here or elsewhere.
            self._batch.give_back(Claim(job.id, job.fence))
            self._hold_until = monotonic() + _HOLD_SECONDS
        elif task.is_async:
            self._crew.coroutines.start(job, task)
        else:
            attempt = Attempt.begin(job, task, self._seat, SYNC)
            outcome = self._crew.performer.perform(attempt)
            if attempt.asked_to_stop() and not self._crew.coroutines.is_busy:  # what they started must not be ended
                end_leftovers(attempt.began)
            self.note_end(attempt, outcome)

    def _judge_stranger(self, job: ClaimedJob) -> None:
        began = monotonic()
        claim = Claim(job.id, job.fence)
        outcome = self._crew.strangers.judge(job)
        if outcome is None:
            self._batch.give_back(claim)
        else:
            self._batch.end(Ended(claim, _verdict(job, outcome, Retry()), began, monotonic()))


def _verdict(job: ClaimedJob, outcome: Outcome, policy: Retry) -> Verdict:
    return decide(
        outcome,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        policy=job.retry or policy,
        uniform=random.random(),  # noqa: S311 - jitter
    )

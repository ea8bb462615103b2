"""What a wake-up does: claim, run, finish and claim again, until nothing is due or the time slice is over."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from steeple.domain.job import Claim, ClaimedJob
from steeple.domain.outcome import Outcome, Verdict, decide
from steeple.domain.pacing import FIRST_CLAIM, next_claim_size
from steeple.domain.priority import Lane
from steeple.domain.retry import Retry
from steeple.task import Task
from steeple.telemetry import events
from steeple.worker.attempt import Attempt
from steeple.worker.attendant import Attendant
from steeple.worker.batch import Batch, Ended
from steeple.worker.board import SYNC, Board, Seat
from steeple.worker.claims import Claims
from steeple.worker.coroutines import Coroutines
from steeple.worker.leftovers import end_leftovers
from steeple.worker.perform import Performer
from steeple.worker.strangers import Strangers

_LOOK_AGAIN_SECONDS = 0.1
"""How often a slot with coroutines under way looks for more to do."""

_BRIEF_SECONDS = 0.125
"""Jobs that take longer are not worth a claim ahead, which would keep them from a slot that is free."""

_SHORTEST_SECONDS = 0.01
"""A batch that takes less is over before the attendant gets the interpreter (``sys.getswitchinterval``)."""


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
        claims: Claims,
        crew: Crew,
        tasks: Mapping[str, Task[Any, Any]],
        pace: Pace,
    ) -> None:
        self._board = board
        self._seat = seat
        self._batch = batch
        self._claims = claims
        self._crew = crew
        self._tasks = tasks
        self._pace = pace
        self._size = FIRST_CLAIM
        self._seconds_per_job = inf
        """What those of the last batch took, on average; infinite if that is not known."""

    def run(self) -> Lane | None:
        """Work; the lane to be woken again if the slice ended with work left."""
        if self._board.is_draining:
            return None
        self._crew.attendant.attend()
        try:
            left = self._run()
        finally:
            self._crew.attendant.rest()
        if left is None:
            self._size, self._seconds_per_job = FIRST_CLAIM, inf
        return left

    def _run(self) -> Lane | None:
        coroutines = self._crew.coroutines
        self._claims.look_from_the_beginning()
        until = monotonic() + self._pace.slice
        while True:
            if jobs := self._claims.take_ahead():
                self._work_through(jobs, until)
                continue
            is_busy = coroutines.is_busy
            is_over = self._board.is_draining or (monotonic() >= until and not is_busy)
            limit = 0 if is_over else self._claims.room(self._size)
            if is_busy and not limit and not self._batch.has_ended:
                coroutines.wait(_LOOK_AGAIN_SECONDS)
                continue
            exchanged = self._claims.now(limit)
            if exchanged is None:
                continue
            if exchanged.jobs:
                self._batch.fill(exchanged.jobs)
                self._work_through(exchanged.jobs, until)
            elif is_busy:
                coroutines.wait(_LOOK_AGAIN_SECONDS)
            elif exchanged.has_let_go:
                continue
            elif not self._batch.has_ended:
                return exchanged.due if is_over and not self._board.is_draining else None

    def note_end(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """What became of an attempt, to be written with the next exchange. Any thread of the slot may call it."""
        if outcome is None:
            self._batch.give_back(attempt.claim)
            return
        verdict = _verdict(attempt.job, outcome, attempt.task.defaults.retry)
        ended = Ended(attempt.claim, verdict, attempt.began, monotonic())
        events.attempt_ended(attempt.job, verdict, ended.ended - ended.began)
        self._batch.end(ended)

    def _work_through(self, jobs: Sequence[ClaimedJob], until: float) -> None:
        """Run the claimed jobs, or set them going; what they took tells how many to claim the next time."""
        began = monotonic()
        self._plan_ahead(jobs, began, until)
        started = 0
        while (job := self._batch.start_next()) is not None:
            self._start(job)
            started += 1
        took = monotonic() - began
        if len(jobs) >= self._size:
            self._size = next_claim_size(self._size, took, self._pace.largest)
        self._seconds_per_job = took / started if started else inf

    def _plan_ahead(self, jobs: Sequence[ClaimedJob], began: float, until: float) -> None:
        """Have the next ones claimed in time, if these are about to end. Coroutines are only set going: no end.

        Beside a job that ever crashed nothing should wait; nor anywhere, if a slot is to hold one job only.
        """
        took = self._seconds_per_job * len(jobs)
        last = self._tasks.get(jobs[-1].task)
        is_worth_it = self._seconds_per_job <= _BRIEF_SECONDS and took >= _SHORTEST_SECONDS and began + took < until
        may_wait = self._pace.largest > 1 and not jobs[0].crashes
        if is_worth_it and may_wait and last is not None and not last.is_async:
            size = next_claim_size(self._size, took, self._pace.largest) if len(jobs) >= self._size else self._size
            self._claims.plan(began + took, size)

    def _start(self, job: ClaimedJob) -> None:
        task = self._tasks.get(job.task)
        if task is None:
            self._judge_stranger(job)
        elif job.crashes and self._crew.coroutines.is_busy:
            # It may take its neighbours down with it. It runs when they have ended, here or elsewhere.
            self._batch.give_back(Claim(job.id, job.fence))
            self._claims.hold()
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

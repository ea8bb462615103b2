"""What a wake-up does: claim, run, finish and claim again, until nothing is due or the time slice is over."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from steeple.domain.job import Claim, ClaimedJob
from steeple.domain.outcome import Outcome, decide
from steeple.domain.pacing import FIRST_CLAIM, next_claim_size
from steeple.domain.priority import Lane
from steeple.domain.retry import Retry
from steeple.task import Task
from steeple.telemetry import events
from steeple.worker.attendant import Attendant
from steeple.worker.batch import Batch, Ended
from steeple.worker.board import Board
from steeple.worker.ledger import Ledger
from steeple.worker.perform import Performer
from steeple.worker.strangers import Strangers


@dataclass(frozen=True)
class Pace:
    """``slice``: seconds until Celery gets the slot back; ``largest``: the most jobs that one claim takes."""

    slice: float
    largest: int


class Drain:
    """The main thread of a slot, at work."""

    def __init__(
        self,
        board: Board,
        batch: Batch,
        ledger: Ledger,
        performer: Performer,
        attendant: Attendant,
        strangers: Strangers,
        tasks: Mapping[str, Task[Any, Any]],
        pace: Pace,
    ) -> None:
        self._board = board
        self._batch = batch
        self._ledger = ledger
        self._performer = performer
        self._attendant = attendant
        self._strangers = strangers
        self._tasks = tasks
        self._pace = pace

    def run(self) -> Lane | None:
        """Work; the lane to be woken again if the slice ended with work left."""
        if self._board.is_draining:
            return None
        until = monotonic() + self._pace.slice
        size = FIRST_CLAIM
        while True:
            is_over = self._board.is_draining or monotonic() >= until
            ended, released = self._batch.take()
            exchanged = self._ledger.exchange(ended, released, 0 if is_over else size)
            if not exchanged.jobs:
                return exchanged.due if is_over and not self._board.is_draining else None
            size = self._work_through(exchanged.jobs, size)

    def _work_through(self, jobs: Sequence[ClaimedJob], size: int) -> int:
        """Run the claimed jobs; the size of the next claim."""
        began = monotonic()
        self._batch.fill(jobs)
        self._attendant.attend()
        while (job := self._batch.start_next()) is not None:
            self._run(job)
        self._attendant.rest()
        took = monotonic() - began
        return next_claim_size(size, took, self._pace.largest) if len(jobs) >= size else size

    def _run(self, job: ClaimedJob) -> None:
        began = monotonic()
        claim = Claim(job.id, job.fence)
        is_known = job.task in self._tasks
        outcome = self._performer.perform(job) if is_known else self._strangers.judge(job)
        if outcome is None:
            self._batch.give_back(claim)
        else:
            self._batch.end(self._ended(job, claim, outcome, began))

    def _ended(self, job: ClaimedJob, claim: Claim, outcome: Outcome, began: float) -> Ended:
        task = self._tasks.get(job.task)
        verdict = decide(
            outcome,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            policy=job.retry or (task.defaults.retry if task is not None else Retry()),
            uniform=random.random(),  # noqa: S311 - jitter
        )
        ended = monotonic()
        events.attempt_ended(job, verdict, ended - began)
        return Ended(claim, verdict, began, ended)

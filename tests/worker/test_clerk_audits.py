"""What the clerk's audit takes for forgotten: a claim that the database holds for a slot which does not know of it."""

import os
from datetime import timedelta
from time import monotonic
from uuid import UUID

import pytest

from playground import Playground, claim_of
from steeple.domain.job import ClaimedJob
from steeple.domain.priority import Binding
from steeple.domain.retry import Retry
from steeple.domain.states import State
from steeple.settings import Settings
from steeple.store.workers import NewWorker
from steeple.submission import new_id
from steeple.worker.board import SYNC, Board, Running, Seat
from steeple.worker.clerk import Clerk
from steeple.worker.stopping import Stopping
from steeple.worker.warden import Warden

LONG_AGO = timedelta(minutes=1)


class Desk:
    """A clerk, called by hand, and the seat of its one slot, which is this process."""

    def __init__(self, playground: Playground) -> None:
        self._playground = playground
        settings = Settings(database_url=playground.url)
        board = Board(1)
        stopping = Stopping(settings.kill_after)
        worker = NewWorker(new_id(), "w", "1", 1, Binding(), ())
        warden = Warden("w", board, settings, stopping, lambda: None)
        self.clerk = Clerk(playground.engine, board, worker, settings, lambda _: Retry(), stopping, warden)
        self.clerk.register()
        self.worker_id = worker.id
        self.seat: Seat = board.seats[0]
        self.seat.take(os.getpid())
        self.seat.is_at_work = True

    def held(self, *, since: timedelta = LONG_AGO) -> ClaimedJob:
        """A claim that the slot has by the database's account."""
        job = self._playground.running()
        self._playground.sql(
            "UPDATE jobs SET worker_id = :worker, slot = 0, started_at = now() - :since WHERE id = :id",
            worker=self.worker_id,
            since=since,
            id=job.id,
        )
        return job

    def audit(self) -> None:
        self.clerk._audit()

    def state(self, job_id: UUID) -> State:
        return self._playground.read(job_id).state


@pytest.fixture
def desk(playground: Playground) -> Desk:
    return Desk(playground)


def test_a_claim_goes_back_that_the_slot_has_not_heard_of_though_it_wrote_all_that_it_knew(desk: Desk) -> None:
    job = desk.held()
    desk.audit()
    desk.seat.note_exchange(True)
    desk.seat.note_exchange(True)
    assert desk.state(job.id) is State.RUNNING
    desk.audit()
    assert desk.state(job.id) is State.PENDING


def test_a_claim_goes_back_whose_slot_is_at_rest(desk: Desk) -> None:
    job = desk.held()
    desk.audit()
    desk.seat.is_at_work = False
    desk.audit()
    assert desk.state(job.id) is State.PENDING


@pytest.mark.parametrize("is_failing", [False, True])
def test_a_claim_stays_whose_slot_has_written_nothing_since(desk: Desk, *, is_failing: bool) -> None:
    """It may have ended behind a task that lets no other thread run, or the slot cannot reach the database."""
    job = desk.held()
    for _ in range(3):
        desk.audit()
        if is_failing:
            desk.seat.note_exchange(False)
    assert desk.state(job.id) is State.RUNNING


def test_a_claim_stays_that_is_young(desk: Desk) -> None:
    job = desk.held(since=timedelta(seconds=1))
    for _ in range(3):
        desk.audit()
        desk.seat.note_exchange(True)
    assert desk.state(job.id) is State.RUNNING


def test_a_claim_stays_that_runs(desk: Desk) -> None:
    job = desk.held()
    desk.seat.begin(SYNC, Running(claim_of(job), monotonic(), monotonic() + 60))
    for _ in range(3):
        desk.audit()
        desk.seat.note_exchange(True)
    assert desk.state(job.id) is State.RUNNING


def test_an_exchange_that_was_under_way_at_the_first_audit_says_nothing(desk: Desk) -> None:
    """It may have taken what had ended before this claim did."""
    job = desk.held()
    desk.audit()
    desk.seat.note_exchange(True)
    desk.audit()
    assert desk.state(job.id) is State.RUNNING

"""The soft signal, fired by the thousand at any moment of a slot's work: it ends tasks, and never a commit of ours."""

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep

import pytest
from stage import Stage

from playground import Playground
from steeple import Steeple
from steeple.broker.celery_app import make_celery
from steeple.broker.wake import Publisher
from steeple.domain.priority import Binding
from steeple.domain.states import State
from steeple.embedded.processes import wait_until
from steeple.settings import Settings
from steeple.worker.board import Board, Stop
from steeple.worker.interrupts import SOFT_SIGNAL
from steeple.worker.slot import Crew, Slot

JOBS = 400
SIGNALS = 4000


class Storm(threading.Thread):
    """Asks every second task to stop, and signals without a pause, whether anybody is to stop or not."""

    def __init__(self, board: Board) -> None:
        super().__init__(daemon=True)
        self._board = board
        self._chance = random.Random(1)
        self.is_over = threading.Event()
        self.signals = 0
        self.asked: set[object] = set()

    def run(self) -> None:
        spared: object = None
        while not self.is_over.is_set():
            for place, running in self._board.seats[0].running():
                if running.claim.id not in self.asked and running.claim.id != spared:
                    if self._chance.random() < 0.5:
                        self.asked.add(running.claim.id)
                        place.ask_to_stop(running.claim, Stop.CANCEL)
                    else:
                        spared = running.claim.id
            os.kill(os.getpid(), SOFT_SIGNAL)
            self.signals += 1
            sleep(0.0002)


@contextmanager
def storm(board: Board) -> Iterator[Storm]:
    blowing = Storm(board)
    blowing.start()
    try:
        yield blowing
    finally:
        blowing.is_over.set()
        blowing.join()


def test_a_commit_is_never_interrupted(
    playground: Playground, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steeple.worker.drain.end_leftovers", lambda began: 0)  # its group is that of all tests
    former = signal.getsignal(SOFT_SIGNAL)
    settings = Settings(database_url=playground.url, broker_url=broker_url)
    playground.worker()
    board = Board(1)
    board.worker_id = playground.value("SELECT id FROM workers")
    app = Steeple(settings)
    app.task("quick")(_quick)
    slot = Slot(Crew("w", settings, board, Binding(), 1, app.tasks), 0, Publisher(make_celery(settings)))
    ids = playground.add_many(JOBS, now=None, task="quick")
    try:
        with storm(board) as blowing:

            def is_done() -> bool:
                slot._drain.run()
                return blowing.signals >= SIGNALS and not playground.value(
                    "SELECT count(*) FROM jobs WHERE state IN ('PENDING', 'RUNNING')"
                )

            assert wait_until(is_done, 60)
    finally:
        signal.signal(SOFT_SIGNAL, former)
    cancelled = {job_id for job_id in ids if playground.read(job_id).state is State.CANCELLED}
    assert cancelled
    assert cancelled <= blowing.asked
    assert {playground.read(job_id).state for job_id in ids} == {State.SUCCESS, State.CANCELLED}


@pytest.mark.soak
def test_slots_bear_signals_at_any_moment(stage: Stage) -> None:
    is_over = threading.Event()

    def fire() -> None:
        while not is_over.wait(0.001):
            for slot in slots:
                with suppress(ProcessLookupError):  # a task killed it
                    os.kill(slot, SOFT_SIGNAL)

    firing = threading.Thread(target=fire, daemon=True)
    with stage.load() as crowd:
        slots = [slot for worker in stage.fleet.workers for slot in worker.children()]
        firing.start()
        stage.progress(crowd, 200)
        is_over.set()
        firing.join()
    assert "slot_failed" not in "".join(worker.said for worker in stage.fleet.workers)


def _quick() -> None:
    sleep(0.001)

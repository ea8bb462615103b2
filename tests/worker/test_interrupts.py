"""The soft signal reaches the task's own code, once, and nothing else, whenever it comes."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from steeple import Cancelled, TimedOut
from steeple.domain.job import Claim, ClaimedJob
from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.task import Task, TaskDefaults
from steeple.worker.attempt import Attempt
from steeple.worker.board import SYNC, Board, Stop
from steeple.worker.interrupts import SOFT_SIGNAL, Interrupts

JOB = ClaimedJob(uuid4(), 1, "task", "{}", "default", 1, 3, 60.0, None, datetime.now(UTC), datetime.now(UTC))
CLAIM = Claim(JOB.id, JOB.fence)


@pytest.fixture
def attempt() -> Attempt:
    task: Task[[], None] = Task(lambda: None, "task", TaskDefaults("default", Priority.DEFAULT, Retry(), 60.0))
    return Attempt.begin(JOB, task, Board(1).seats[0], SYNC)


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    former = signal.getsignal(SOFT_SIGNAL)
    found = Interrupts(pass_on=lambda: None)
    found.install()
    yield found
    signal.signal(SOFT_SIGNAL, former)


def _signal() -> None:
    os.kill(os.getpid(), SOFT_SIGNAL)


def _run_until_stopped(interrupts: Interrupts, attempt: Attempt) -> None:
    try:
        interrupts.arm(attempt)
        while True:
            time.sleep(0.001)
    finally:
        interrupts.disarm()


@pytest.mark.parametrize(("stop", "raised"), [(Stop.CANCEL, Cancelled), (Stop.TIMEOUT, TimedOut)])
def test_it_raises_in_an_armed_task(
    interrupts: Interrupts, attempt: Attempt, stop: Stop, raised: type[BaseException]
) -> None:
    attempt.place.ask_to_stop(CLAIM, stop)
    threading.Timer(0.05, _signal).start()
    with pytest.raises(raised):
        _run_until_stopped(interrupts, attempt)


def test_a_signal_without_a_request_for_this_claim_does_nothing(interrupts: Interrupts, attempt: Attempt) -> None:
    attempt.place.ask_to_stop(Claim(CLAIM.id, 2), Stop.CANCEL)
    interrupts.arm(attempt)
    _signal()
    interrupts.disarm()


def test_nothing_is_raised_while_our_own_code_runs(interrupts: Interrupts, attempt: Attempt) -> None:
    attempt.place.ask_to_stop(CLAIM, Stop.CANCEL)
    _signal()


def test_a_request_from_before_the_start_takes_effect_at_the_start(interrupts: Interrupts, attempt: Attempt) -> None:
    attempt.place.ask_to_stop(CLAIM, Stop.CANCEL)
    with pytest.raises(Cancelled):
        interrupts.arm(attempt)


def test_a_task_is_told_once(interrupts: Interrupts, attempt: Attempt) -> None:
    attempt.place.ask_to_stop(CLAIM, Stop.CANCEL)
    with pytest.raises(Cancelled):
        interrupts.arm(attempt)
    _signal()
    _signal()


def test_thousands_of_signals_never_reach_past_the_task(interrupts: Interrupts, attempt: Attempt) -> None:
    """What stands for a COMMIT here is never interrupted, however close to it the signal comes."""
    attempt.place.ask_to_stop(CLAIM, Stop.CANCEL)
    is_over = threading.Event()

    def fire() -> None:
        while not is_over.is_set():
            _signal()

    archer = threading.Thread(target=fire)
    archer.start()
    commits = interrupted = 0
    try:
        for _ in range(20_000):
            try:
                try:
                    interrupts.arm(attempt)
                finally:
                    interrupts.disarm()
            except Cancelled:
                interrupted += 1
            commits += 1
    finally:
        is_over.set()
        archer.join()
    assert commits == 20_000
    assert interrupted > 0

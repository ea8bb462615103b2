"""The soft signal reaches the task's own code, once, and nothing else, whenever it comes."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from steeple import Cancelled, TimedOut
from steeple.domain.job import Claim
from steeple.worker.board import Board, Seat, Stop
from steeple.worker.interrupts import SOFT_SIGNAL, AsyncCancelled, Interruptible, Interrupts

CLAIM = Claim(uuid4(), 1)


@pytest.fixture
def seat() -> Seat:
    return Board(1).seats[0]


@pytest.fixture
def interrupts(seat: Seat) -> Iterator[Interrupts]:
    former = signal.getsignal(SOFT_SIGNAL)
    found = Interrupts(seat)
    found.install()
    yield found
    signal.signal(SOFT_SIGNAL, former)


def _signal() -> None:
    os.kill(os.getpid(), SOFT_SIGNAL)


def _run_until_stopped(interrupts: Interrupts) -> None:
    try:
        interrupts.arm(CLAIM)
        while True:
            time.sleep(0.001)
    finally:
        interrupts.disarm()


@pytest.mark.parametrize(("stop", "raised"), [(Stop.CANCEL, Cancelled), (Stop.TIMEOUT, TimedOut)])
def test_it_raises_in_an_armed_task(
    interrupts: Interrupts, seat: Seat, stop: Stop, raised: type[BaseException]
) -> None:
    seat.ask_to_stop(CLAIM, stop)
    threading.Timer(0.05, _signal).start()
    with pytest.raises(raised):
        _run_until_stopped(interrupts)


def test_a_signal_without_a_request_for_this_claim_does_nothing(interrupts: Interrupts, seat: Seat) -> None:
    seat.ask_to_stop(Claim(CLAIM.id, 2), Stop.CANCEL)
    interrupts.arm(CLAIM)
    _signal()
    interrupts.disarm()


def test_nothing_is_raised_while_our_own_code_runs(interrupts: Interrupts, seat: Seat) -> None:
    seat.ask_to_stop(CLAIM, Stop.CANCEL)
    _signal()


def test_a_request_from_before_the_start_takes_effect_at_the_start(interrupts: Interrupts, seat: Seat) -> None:
    seat.ask_to_stop(CLAIM, Stop.CANCEL)
    with pytest.raises(Cancelled):
        interrupts.arm(CLAIM)


def test_a_task_is_told_once(interrupts: Interrupts, seat: Seat) -> None:
    seat.ask_to_stop(CLAIM, Stop.CANCEL)
    with pytest.raises(Cancelled):
        interrupts.arm(CLAIM)
    _signal()
    _signal()


def test_thousands_of_signals_never_reach_past_the_task(interrupts: Interrupts, seat: Seat) -> None:
    """What stands for a COMMIT here is never interrupted, however close to it the signal comes."""
    seat.ask_to_stop(CLAIM, Stop.CANCEL)
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
                    interrupts.arm(CLAIM)
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


async def _told(seen: list[str]) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError as stop:
        seen.append(type(stop).__name__)
        await asyncio.sleep(0)  # cleaning up may take its time
        raise


def test_a_coroutine_is_told_where_it_awaits(interrupts: Interrupts, seat: Seat) -> None:
    seen: list[str] = []
    coroutine = Interruptible(_told(seen))
    seat.ask_to_stop(CLAIM, Stop.CANCEL)
    threading.Timer(0.05, _signal).start()
    interrupts._armed = CLAIM  # as `arm`, but with the request still to be noticed
    interrupts.watch(coroutine)
    with pytest.raises(AsyncCancelled), asyncio.Runner() as runner:
        runner.run(coroutine.run())
    assert seen == ["AsyncCancelled"]


def test_a_coroutine_that_cancels_parts_of_its_own_is_left_to_it(interrupts: Interrupts) -> None:
    async def impatient() -> str:
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return type(error).__name__
        return "never"

    with asyncio.Runner() as runner:
        assert runner.run(Interruptible(impatient()).run()) == "CancelledError"

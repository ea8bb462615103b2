"""What warden and slots share: a seat outlives who sits on it, and only the warden makes it free again."""

import os
import signal
import subprocess
import sys
from uuid import UUID, uuid4

import pytest

from steeple.domain.job import Claim
from steeple.embedded.processes import wait_until
from steeple.worker.board import SYNC, Board, Running, Seat, Stop


def _claim(fence: int = 1) -> Claim:
    return Claim(uuid4(), fence)


def test_a_seat_tells_what_its_slot_runs() -> None:
    seat = Board(1).seats[0]
    running = Running(_claim(2**62), 12.5, float("inf"))
    seat.take(os.getpid())
    assert _running(seat) == []
    seat.begin(SYNC, running)
    assert _running(seat) == [running]
    seat.places[SYNC].end()
    assert _running(seat) == []


def test_a_stop_is_for_one_claim_only() -> None:
    place = Board(1).seats[0].places[SYNC]
    claim = _claim(3)
    place.ask_to_stop(claim, Stop.TIMEOUT)
    assert place.asked_to_stop(claim) is Stop.TIMEOUT
    assert place.asked_to_stop(Claim(claim.id, 4)) is None
    assert place.asked_to_stop(_claim(3)) is None


def test_neighbours_do_not_touch_each_other() -> None:
    board = Board(3, coroutines=4)
    written = {}
    for seat in board.seats:
        seat.take(os.getpid())
        for number, place in enumerate(seat.places):
            running = Running(Claim(uuid4(), number), seat.number, number)
            seat.begin(number, running)
            place.ask_to_stop(running.claim, Stop.CANCEL)
            written[seat.number, number] = running
    board.worker_id = UUID(int=2**128 - 1)
    board.drain()
    assert board.worker_id == UUID(int=2**128 - 1)
    for seat in board.seats:
        assert _running(seat) == [written[seat.number, number] for number in range(5)]
        assert all(place.asked_to_stop(running.claim) is Stop.CANCEL for place, running in seat.running())


def _running(seat: Seat) -> list[Running]:
    return [running for _, running in seat.running()]


def _fork_and_take(seat: Seat, *, leave_running: Claim | None = None) -> int:
    """A child that takes the seat, and lives until it is killed, or for 20 s."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        seat.take(os.getpid())
        if leave_running is not None:
            seat.begin(SYNC, Running(leave_running, 1.0, 2.0))
        os.write(writer, b".")
        while True:
            signal.pause()
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    return child


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_seat_is_deserted_as_soon_as_its_slot_is_dead_and_keeps_what_it_ran() -> None:
    board = Board(2)
    seat, claim = board.seats[0], _claim()
    child = _fork_and_take(seat, leave_running=claim)
    assert not seat.is_deserted()

    os.kill(child, 9)

    assert wait_until(seat.is_deserted, 5)  # before anybody has reaped it
    assert _running(seat) == [Running(claim, 1.0, 2.0)]
    os.waitpid(child, 0)
    assert board.seat_for(0) is board.seats[2]
    seat.clear()
    assert board.seat_for(0) is seat
    assert not seat.is_deserted()
    assert _running(seat) == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_of_a_slot_does_not_keep_its_seat() -> None:
    """Tasks start programs, which may outlive the slot."""
    seat = Board(1).seats[0]
    reader, writer = os.pipe()
    slot = os.fork()
    if slot == 0:
        signal.alarm(20)
        seat.take(os.getpid())
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"], close_fds=False)
        os.write(writer, grandchild.pid.to_bytes(4, "big"))
        os._exit(0)
    grandchild_pid = int.from_bytes(os.read(reader, 4), "big")
    os.waitpid(slot, 0)
    assert wait_until(seat.is_deserted, 5)
    try:
        os.kill(grandchild_pid, 9)
    except ProcessLookupError:
        pytest.fail("the grandchild should have outlived the slot")


def test_slots_of_different_numbers_never_want_the_same_seat() -> None:
    board = Board(3)
    wanted = [board.seat_for(index) for index in range(3)]
    assert len({seat.number for seat in wanted if seat is not None}) == 3

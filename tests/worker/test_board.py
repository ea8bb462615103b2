"""What warden and slots share: a seat outlives who sits on it, and only the warden makes it free again."""

import os
import signal
import subprocess
import sys
from uuid import UUID, uuid4

import pytest

from steeple.domain.job import Claim
from steeple.embedded.processes import wait_until
from steeple.worker.board import Board, Running, Seat, Stop


def _claim(fence: int = 1) -> Claim:
    return Claim(uuid4(), fence)


def test_a_seat_tells_what_its_slot_runs() -> None:
    seat = Board(1).seats[0]
    running = Running(_claim(2**62), 12.5, float("inf"))
    assert seat.running() is None
    seat.begin(running)
    assert seat.running() == running
    seat.end()
    assert seat.running() is None


def test_a_stop_is_for_one_claim_only() -> None:
    seat = Board(1).seats[0]
    claim = _claim(3)
    seat.ask_to_stop(claim, Stop.TIMEOUT)
    assert seat.asked_to_stop(claim) is Stop.TIMEOUT
    assert seat.asked_to_stop(Claim(claim.id, 4)) is None
    assert seat.asked_to_stop(_claim(3)) is None


def test_neighbours_do_not_touch_each_other() -> None:
    board = Board(3)
    for number, seat in enumerate(board.seats):
        seat.begin(Running(Claim(UUID(int=number + 1), number), number, number))
        seat.ask_to_stop(Claim(UUID(int=number + 1), number), Stop.CANCEL)
    board.worker_id = UUID(int=2**128 - 1)
    board.drain()
    assert board.worker_id == UUID(int=2**128 - 1)
    assert [seat.running() for seat in board.seats] == [
        Running(Claim(UUID(int=number + 1), number), number, number) for number in range(len(board.seats))
    ]


def _fork_and_take(seat: Seat, *, leave_running: Claim | None = None) -> int:
    """A child that takes the seat, and lives until it is killed, or for 20 s."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        seat.take(os.getpid())
        if leave_running is not None:
            seat.begin(Running(leave_running, 1.0, 2.0))
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
    assert seat.running() == Running(claim, 1.0, 2.0)
    os.waitpid(child, 0)
    assert board.seat_for(0) is board.seats[2]
    seat.clear()
    assert board.seat_for(0) is seat
    assert not seat.is_deserted()
    assert seat.running() is None


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

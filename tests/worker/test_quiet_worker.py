"""A worker with nothing to do: its main process wakes up rarely, and is all there again when a slot goes to work."""

import os
import signal
from collections.abc import Iterator

import pytest

from playground import Playground
from steeple import Retry, Settings
from steeple.domain.priority import Binding
from steeple.embedded.processes import wait_until
from steeple.store.workers import NewWorker
from steeple.submission import new_id
from steeple.worker.board import Board, Seat
from steeple.worker.clerk import Clerk
from steeple.worker.stopping import Stopping
from steeple.worker.warden import Warden

PATIENCE = 60.0


@pytest.fixture
def board() -> Board:
    return Board(1)


@pytest.fixture
def settings(playground: Playground) -> Settings:
    return Settings(database_url=playground.url, heartbeat_interval=3600, worker_dead_after=36000)


@pytest.fixture
def warden(board: Board, settings: Settings) -> Warden:
    return Warden("w", board, settings, Stopping(settings.kill_after), lambda: None)


@pytest.fixture
def looking(warden: Warden) -> Iterator[Warden]:
    warden.start()
    yield warden
    warden.close()


@pytest.fixture
def slot(board: Board) -> Iterator[int]:
    """A process at the first seat; its id."""
    child = _sitting(board.seats[0])
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _sitting(seat: Seat) -> int:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(120)
        seat.take(os.getpid())
        os.write(writer, b".")
        while True:
            signal.pause()
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    return child


class CountingClerk(Clerk):
    """Counts its ticks, which do nothing."""

    ticks = 0

    def _tick(self) -> None:
        self.ticks += 1


@pytest.fixture
def clerk(playground: Playground, board: Board, settings: Settings, warden: Warden) -> Iterator[CountingClerk]:
    worker = NewWorker(new_id(), "w", "1", 1, Binding(), ())
    stopping = Stopping(settings.kill_after)
    clerk = CountingClerk(playground.engine, board, worker, settings, lambda _: Retry(), stopping, warden)
    clerk.start()
    yield clerk
    clerk.close()
    assert not clerk.is_alive()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_the_warden_stirs_while_a_slot_is_at_work_and_is_quiet_when_it_has_ended(
    slot: int, board: Board, looking: Warden
) -> None:
    for _ in range(2):
        board.seats[0].is_at_work = True
        assert wait_until(looking.is_stirring.is_set, PATIENCE)
        board.seats[0].is_at_work = False
        assert wait_until(lambda: not looking.is_stirring.is_set(), PATIENCE)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_the_warden_stirs_when_an_idle_slot_is_dead_until_its_seat_is_clear(
    slot: int, board: Board, looking: Warden
) -> None:
    os.kill(slot, signal.SIGKILL)
    assert wait_until(looking.is_stirring.is_set, PATIENCE)
    assert wait_until(lambda: looking.is_buried(board.seats[0]), PATIENCE)
    board.seats[0].clear()
    assert wait_until(lambda: not looking.is_stirring.is_set(), PATIENCE)


def test_the_warden_stirs_while_the_worker_is_to_end(board: Board, looking: Warden) -> None:
    looking.drain()
    assert wait_until(looking.is_stirring.is_set, PATIENCE)


def test_the_clerk_rests_while_all_is_quiet_and_no_longer(warden: Warden, clerk: CountingClerk) -> None:
    assert wait_until(lambda: clerk.ticks > 0, PATIENCE)
    assert not wait_until(lambda: clerk.ticks > 2, 1.0)
    warden.is_stirring.set()
    assert wait_until(lambda: clerk.ticks > 10, PATIENCE)


def test_a_resting_clerk_ends_when_it_is_told_to(clerk: CountingClerk) -> None:
    assert wait_until(lambda: clerk.ticks > 0, PATIENCE)
    clerk.close()
    assert not clerk.is_alive()

"""What a task starts does not outlive it for long: not a stop, and not its slot."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from watching import Watcher, WorkerProcess

from steeple import State
from steeple.embedded.processes import is_alive, wait_until

Start = Callable[..., WorkerProcess]


def test_what_a_stopped_task_started_is_ended_and_no_more(start_worker: Start, watch: Watcher, tmp_path: Path) -> None:
    worker = start_worker("--slots", "1")
    (slot,) = worker.slots()
    before, meanwhile = tmp_path / "before", tmp_path / "meanwhile"
    assert watch.ended(watch.submit("leave_behind", {"path": str(before)})).state is State.SUCCESS
    # The kernel tells when a process began in hundredths of a second: what comes next must be clearly later.
    assert not wait_until(lambda: False, 0.3)
    handle = watch.submit("spawn", {"path": str(meanwhile)}, timeout=0.5, max_attempts=1)
    assert watch.ended(handle, patience=15).state is State.FAILED
    assert wait_until(lambda: not is_alive(int(meanwhile.read_text())), 5)
    assert is_alive(int(before.read_text()))
    assert worker.slots() == [slot]
    os.kill(int(before.read_text()), signal.SIGKILL)


def test_what_a_task_started_dies_with_its_slot(start_worker: Start, watch: Watcher, tmp_path: Path) -> None:
    worker = start_worker("--slots", "1")
    (slot,) = worker.slots()
    path = tmp_path / "child"
    assert watch.ended(watch.submit("leave_behind", {"path": str(path)})).state is State.SUCCESS
    os.kill(slot, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(int(path.read_text())), 5)


def test_what_a_task_started_heeds_sigterm(start_worker: Start, watch: Watcher, tmp_path: Path) -> None:
    start_worker("--slots", "1")
    path = tmp_path / "child"
    assert watch.ended(watch.submit("leave_behind", {"path": str(path)})).state is State.SUCCESS
    os.kill(int(path.read_text()), signal.SIGTERM)
    assert wait_until(lambda: not is_alive(int(path.read_text())), 5)

"""A real worker when things go wrong around it: poison, locks, a broker that hangs, a deploy, a signal to all."""

import os
import signal
from collections.abc import Callable

import psycopg
import pytest
from watching import Watcher, WorkerProcess

from servers import libpq_url
from steeple import Settings, State
from steeple.embedded.processes import wait_until
from steeple.embedded.valkey import EmbeddedValkey

Start = Callable[..., WorkerProcess]


def test_a_poison_coroutine_fails_alone(start_worker: Start, watch: Watcher) -> None:
    start_worker("--slots", "1")
    innocent = [watch.submit("doze", {"seconds": 1.0}, max_attempts=10) for _ in range(6)]
    poison = watch.submit("crash_async", max_attempts=10)
    ended = watch.ended(poison, patience=60)
    assert (ended.state, ended.crashes) == (State.FAILED, 3)
    assert [watch.ended(handle).state for handle in innocent] == [State.SUCCESS] * 6


@pytest.mark.parametrize("task", ["give_lazily", "give_lazily_async"])
def test_a_result_that_fails_when_it_is_looked_at_is_a_bad_result(
    start_worker: Start, watch: Watcher, task: str
) -> None:
    worker = start_worker("--slots", "1")
    slots = worker.slots()
    job = watch.ended(watch.submit(task))
    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert '"bad_result"' in (job.error or "")
    assert worker.slots() == slots


def test_a_locked_row_of_a_dead_slot_does_not_stop_the_heart(
    start_worker: Start, watch: Watcher, settings: Settings
) -> None:
    worker = start_worker("--slots", "2", STEEPLE_HEARTBEAT_INTERVAL="0.3")
    handle = watch.submit("nap", {"seconds": 60})
    watch.until(handle, State.RUNNING)
    assert settings.database_url is not None
    with psycopg.connect(libpq_url(settings.database_url.get_secret_value())) as holder:
        holder.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", [handle.id])
        for slot in worker.slots():
            os.kill(slot, signal.SIGKILL)
        assert wait_until(lambda: "slot_died" in worker.said, 10)
        beats = _beats(worker, 4.0)
    assert len(beats) >= 3
    assert watch.ended(watch.submit("echo", {"value": 1})).state is State.SUCCESS
    assert wait_until(lambda: watch.read(handle).crashes == 1, 10)


def _beats(worker: WorkerProcess, seconds: float) -> list[object]:
    """The heartbeats that arrive within so many seconds."""
    seen: list[object] = []

    def look() -> bool:
        ((beat,),) = worker.query("SELECT heartbeat_at FROM workers")
        if beat not in seen:
            seen.append(beat)
        return len(seen) > 20

    wait_until(look, seconds)
    return seen


def test_a_signal_to_all_processes_stops_the_worker_only(start_worker: Start, watch: Watcher) -> None:
    """As a service manager sends it."""
    worker = start_worker("--slots", "1")
    handle = watch.submit("nap", {"seconds": 1.5})
    watch.until(handle, State.RUNNING)
    for pid in worker.slots():
        os.kill(pid, signal.SIGTERM)
    assert worker.stop() == 0
    assert watch.read(handle).state is State.SUCCESS


def test_a_broker_that_hangs_does_not_stop_a_slot_at_work(
    start_worker: Start, watch: Watcher, valkey: EmbeddedValkey
) -> None:
    start_worker("--slots", "1", STEEPLE_DRAIN_SLICE="0.2")
    handles = [watch.submit("nap", {"seconds": 0.02}) for _ in range(300)]
    watch.until(handles[0], State.SUCCESS)
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        assert wait_until(lambda: watch.read(handles[-1]).state is State.SUCCESS, 40)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)

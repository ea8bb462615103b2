"""A slot whose queue is paused while it works: it ends what it has, and takes no more until the queue goes on."""

from typing import Any

from workbench import Bench

from steeple import State
from steeple.store import queue_settings
from steeple.store.engine import in_transaction

_JOBS = 120


def _pause_at(bench: Bench, number: int) -> None:
    """``note`` takes long enough to be claimed ahead of, and pauses its queue once."""
    bench.gate.clear()

    def note(value: int, context: Any) -> int:
        if value == number:
            in_transaction(bench.engine, lambda connection: queue_settings.pause(connection, "default", by="a task"))
        bench.gate.wait(0.005)
        bench.ran.append(value)
        return value

    bench.app._tasks["note"].function = note


def test_a_pause_stops_the_claims_of_a_slot_that_is_at_work_ahead_too(bench: Bench) -> None:
    handles = bench.submit("note", _JOBS)
    _pause_at(bench, 20)
    bench.slot.work()
    ran = len(bench.ran)
    assert bench.ran == list(range(ran))
    assert 20 < ran < _JOBS - 20  # what was claimed by then, which is some 50 ms of work and as much ahead
    states = bench.states(handles)
    assert states == [State.SUCCESS] * ran + [State.PENDING] * (_JOBS - ran)
    bench.slot.work()
    assert len(bench.ran) == ran
    in_transaction(bench.engine, lambda connection: queue_settings.resume(connection, "default"))
    bench.slot.work()
    assert bench.ran == list(range(_JOBS))
    assert {bench.read(handle).attempt for handle in handles} == {1}


def test_other_queues_go_on_beside_a_paused_one(bench: Bench) -> None:
    held, free = bench.submit("note", 5, queue="held"), bench.submit("note", 5, queue="free")
    in_transaction(bench.engine, lambda connection: queue_settings.pause(connection, "held", by="me"))
    bench.slot.work()
    assert set(bench.states(held)) == {State.PENDING}
    assert set(bench.states(free)) == {State.SUCCESS}

"""Jobs with limits and fair keys in real slots."""

from collections import Counter
from time import sleep
from typing import Any

from workbench import Bench

from steeple import State
from steeple.domain.limits import Limit
from steeple.store import limits, queue_settings
from steeple.store.engine import in_transaction
from steeple.store.queue_settings import QueueChange


def test_a_backlog_with_a_limit_is_drained_one_after_the_other(bench: Bench) -> None:
    in_transaction(bench.engine, lambda connection: limits.set_limit(connection, Limit("k", max_running=1)))
    handles = bench.submit("note", 20, limits=["k"])
    bench.slot.work()
    assert bench.ran == list(range(20))
    assert set(bench.states(handles)) == {State.SUCCESS}


def test_limited_and_plain_jobs_are_drained_together(bench: Bench) -> None:
    plain = bench.submit("note", 30)
    limited = bench.submit("note", 30, limits=["nothing is set for this"])
    shared = bench.submit("note", 30, fair_key="tenant")
    bench.slot.work()
    assert set(bench.states(plain + limited + shared)) == {State.SUCCESS}
    assert len(bench.ran) == 90


def test_keys_take_turns(bench: Bench) -> None:
    order: list[str] = []

    def note(value: int, context: Any) -> None:
        order.append("many" if value < 1000 else "few")

    bench.app._tasks["note"].function = note
    bench.app.submit_batch("note", [{"value": number} for number in range(100)], fair_key="many")
    bench.app.submit_batch("note", [{"value": 1000 + number} for number in range(5)], fair_key="few")
    bench.slot.work()
    assert Counter(order) == {"many": 100, "few": 5}
    assert max(place for place, key in enumerate(order) if key == "few") < 12


def test_limited_jobs_are_claimed_ahead_within_their_limit(bench: Bench) -> None:
    in_transaction(bench.engine, lambda connection: limits.set_limit(connection, Limit("k", max_running=3)))
    running: list[int] = []

    def note(value: int, context: Any) -> None:
        running.append(bench.sql("SELECT count(*) FROM jobs WHERE state = 'RUNNING'")[0][0])
        sleep(0.02)

    bench.app._tasks["note"].function = note
    handles = bench.submit("note", 20, limits=["k"])
    bench.slot.work()
    assert set(bench.states(handles)) == {State.SUCCESS}
    assert max(running) <= 3


def test_a_lane_of_which_nothing_may_start_does_not_stop_the_slot(bench: Bench) -> None:
    """Its first job is locked by somebody else; those of the lanes behind it start."""
    (held,) = bench.submit("note", 1, limits=["k"], priority="high")
    plain = bench.submit("note", 5, priority="low")
    limited = bench.submit("note", 5, limits=["k"], queue="another")
    with bench.engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT FROM jobs WHERE id = '{held.id}' FOR UPDATE")
        bench.slot.work()
        assert set(bench.states(plain + limited)) == {State.SUCCESS}
        assert bench.states([held]) == [State.PENDING]
    bench.slot.work()
    assert bench.states([held]) == [State.SUCCESS]


def test_a_full_queue_holds_up_no_other(bench: Bench) -> None:
    full = QueueChange({"max_running"}, max_running=0)
    in_transaction(bench.engine, lambda connection: queue_settings.change(connection, "full", full))
    held = bench.submit("note", 300, queue="full", priority="high")
    free = bench.submit("note", 20, queue="free", priority="low")
    bench.slot.work()
    assert set(bench.states(free)) == {State.SUCCESS}
    assert set(bench.states(held)) == {State.PENDING}
    none = QueueChange({"max_running"})
    in_transaction(bench.engine, lambda connection: queue_settings.change(connection, "full", none))
    bench.slot.work()
    assert set(bench.states(held)) == {State.SUCCESS}


def test_a_queue_with_a_limit_is_drained(bench: Bench) -> None:
    one = QueueChange({"max_running"}, max_running=1)
    in_transaction(bench.engine, lambda connection: queue_settings.change(connection, "default", one))
    handles = bench.submit("note", 20)
    bench.slot.work()
    assert bench.ran == list(range(20))
    assert set(bench.states(handles)) == {State.SUCCESS}

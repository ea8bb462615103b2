"""Jobs with limits and fair keys in real slots."""

from collections import Counter
from time import sleep
from typing import Any

from workbench import Bench

from steeple import State
from steeple.domain.limits import Limit
from steeple.store import limits
from steeple.store.engine import in_transaction


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

"""Async tasks in a slot: many at once, beside a sync one, and none lost or run twice with a lost reply."""

import threading
from time import monotonic
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import event
from workbench import Bench

from steeple import State
from steeple.embedded.processes import wait_until


def test_a_slot_runs_a_hundred_coroutines_at_once(bench: Bench) -> None:
    handles = bench.app.submit_batch("rest", [{"value": number, "seconds": 0.5} for number in range(300)])
    bench.slot.work()
    assert set(bench.states(handles)) == {State.SUCCESS}
    assert 100 <= bench.at_once <= 128
    assert sorted(bench.ran) == list(range(300))


def test_a_long_sync_task_does_not_hold_up_coroutines(bench: Bench) -> None:
    (resting,) = bench.app.submit_batch("rest", [{"value": 1, "seconds": 0.3}])
    (holding,) = bench.submit("hold")

    def release_the_sync_one() -> None:
        wait_until(lambda: bench.read(resting).state is State.SUCCESS, 10)
        bench.gate.set()

    threading.Thread(target=release_the_sync_one).start()
    began = monotonic()
    bench.slot.work()
    assert monotonic() - began < 20  # and not the 30 s for which the sync task would wait
    assert bench.states([resting, holding]) == [State.SUCCESS, State.SUCCESS]


def test_what_a_coroutine_starts_cannot_end_the_loop(bench: Bench) -> None:
    (leaving,) = bench.app.submit_batch("exit", [{}])
    (resting,) = bench.app.submit_batch("rest", [{"value": 1, "seconds": 0.3}])
    bench.slot.work()
    assert bench.states([leaving, resting]) == [State.FAILED, State.SUCCESS]
    assert "SystemExit" in (bench.read(leaving).error or "")


def test_a_lost_reply_gives_back_no_coroutine_that_runs(bench: Bench) -> None:
    handles = bench.app.submit_batch("rest", [{"value": number, "seconds": 0.4} for number in range(60)])
    slot = bench.slot
    losses = iter([False, True, False, True, False, True])

    def lose(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "known_lane" in statement and next(losses, False):
            raise sqlalchemy.exc.OperationalError("lost", {}, psycopg.OperationalError("the connection is lost"))

    event.listen(slot._engine, "after_cursor_execute", lose)
    slot.work()
    assert set(bench.states(handles)) == {State.SUCCESS}
    assert sorted(bench.ran) == list(range(60))  # none twice


def test_what_waits_behind_a_blocking_coroutine_goes_back(bench: Bench) -> None:
    """A careless one holds up the loop: those that it has not begun are for others."""
    (blocking,) = bench.app.submit_batch("block", [{"seconds": 30.0}])
    behind = bench.app.submit_batch("rest", [{"value": number, "seconds": 0.1} for number in range(5)])

    def look() -> None:
        wait_until(lambda: "block" in bench.ran, 10)
        seen["gone"] = wait_until(lambda: set(bench.states(behind)) == {State.PENDING}, 10)
        bench.sql("UPDATE jobs SET run_at = now() + interval '1 h' WHERE state = 'PENDING'")
        bench.gate.set()

    seen: dict[str, bool] = {}
    looker = threading.Thread(target=look)
    looker.start()
    bench.slot.work()
    looker.join()
    assert seen["gone"]
    assert {bench.read(handle).attempt for handle in behind} == {0}
    assert bench.read(blocking).state is State.SUCCESS

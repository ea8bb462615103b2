"""A slot claims its next jobs while the last ones still run."""

import threading
from collections.abc import Callable
from time import sleep
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import event
from workbench import Bench

from steeple import State
from steeple.embedded.processes import wait_until

_TASK_SECONDS = 0.02


def _brief(bench: Bench, then: Callable[[int], object] = lambda _: None) -> None:
    """``note`` takes a while, and so is worth a claim ahead; it does something by its number before."""

    def note(value: int, context: Any) -> int:
        then(value)
        sleep(_TASK_SECONDS)
        bench.ran.append(value)
        return value

    bench.app._tasks["note"].function = note


def test_the_next_jobs_are_claimed_while_the_last_ones_run(bench: Bench) -> None:
    running_at: dict[int, int] = {}

    def count(value: int) -> None:
        (running_at[value],) = (row[0] for row in bench.sql("SELECT count(*) FROM jobs WHERE state = 'RUNNING'"))

    handles = bench.submit("note", 40)
    _brief(bench, count)
    bench.slot.work()
    assert bench.ran == list(range(40))
    assert set(bench.states(handles)) == {State.SUCCESS}
    assert max(running_at.values()) > 4  # a batch is of two or three
    assert {bench.read(handle).attempt for handle in handles} == {1}


def test_what_was_claimed_ahead_goes_back_if_the_last_one_takes_long(bench: Bench) -> None:
    handles = bench.submit("note", 40)
    long, behind = handles[20], handles[21:]
    seen: list[bool] = []
    _brief(bench, lambda value: value == 20 and bench.gate.wait(60))

    def look() -> None:
        """The slot runs in the test's own thread, as it must."""
        assert wait_until(lambda: bench.read(long).state is State.RUNNING and len(bench.ran) == 20, 60)
        seen.append(wait_until(lambda: set(bench.states(behind)) == {State.PENDING}, 10))
        bench.gate.set()

    looker = threading.Thread(target=look)
    looker.start()
    bench.slot.work()
    looker.join()
    assert seen == [True]
    assert sorted(bench.ran) == list(range(40))
    assert {bench.read(handle).attempt for handle in handles} == {1}


def test_a_slot_that_is_to_hold_one_job_claims_none_ahead(bench: Bench) -> None:
    running_at = []
    bench.settings = bench.settings.model_copy(update={"max_claim": 1})
    bench.submit("note", 10)
    _brief(bench, lambda _: running_at.append(bench.sql("SELECT count(*) FROM jobs WHERE state = 'RUNNING'")[0][0]))
    bench.slot.work()
    assert running_at == [1] * 10


def test_a_lost_reply_to_a_claim_ahead_runs_nothing_twice(bench: Bench) -> None:
    handles = bench.submit("note", 60)
    slot = bench.slot
    lost: list[bool] = []
    _brief(bench)

    def lose(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        """Every third reply to the attendant: the statement is committed by now."""
        if "known_lane" in statement and threading.current_thread().name == "attendant":
            lost.append(len(lost) % 3 == 1)
            if lost[-1]:
                raise sqlalchemy.exc.OperationalError("lost", {}, psycopg.OperationalError("the connection is lost"))

    event.listen(slot._engine, "after_cursor_execute", lose)
    slot.work()
    assert any(lost)
    assert sorted(bench.ran) == list(range(60))
    assert set(bench.states(handles)) == {State.SUCCESS}
    assert bench.sql("SELECT value FROM counters WHERE name = 'stale_finishes'") == []

"""A slot without Celery around it: what it claims, what it gives back, what it does when a reply is lost."""

import threading
from time import monotonic
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import event
from workbench import Bench

from steeple import Settings, State
from steeple.broker.celery_app import make_celery
from steeple.domain.priority import Binding
from steeple.embedded.processes import wait_until
from steeple.store import workers
from steeple.store.engine import in_transaction
from steeple.store.workers import NewWorker
from steeple.submission import new_id


def test_a_backlog_is_drained_in_order_and_in_few_claims(bench: Bench) -> None:
    handles = bench.submit("note", 500)
    slot, statements = bench.slot, []

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(slot._engine, "before_cursor_execute", count)
    slot.work()
    assert bench.ran == list(range(500))
    assert set(bench.states(handles)) == {State.SUCCESS}
    assert len(statements) <= 30  # 1, 2, 4 … 128, and the session's own


def test_a_wake_up_that_finds_nothing_costs_one_query(bench: Bench) -> None:
    slot, statements = bench.slot, []
    slot.work()
    event.listen(slot._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    slot.work()
    assert len(statements) == 1


def test_what_waits_behind_a_long_job_goes_back_within_a_second_and_is_not_counted(bench: Bench) -> None:
    first = bench.submit("note", 8)
    (long,) = bench.submit("hold")
    behind = bench.submit("note", 5)
    worker = threading.Thread(target=lambda: None)
    slot = bench.slot

    def look() -> None:
        """The slot runs in this thread, as it must; this one looks on, and lets it go in the end."""
        assert wait_until(lambda: "hold" in bench.ran, 10)
        began = monotonic()
        gone = wait_until(lambda: set(bench.states(behind)) == {State.PENDING}, 10)
        seen["after"], seen["gone"] = monotonic() - began, gone
        seen["first"] = bench.states(first)
        seen["long"] = bench.read(long).state
        bench.sql("UPDATE jobs SET run_at = now() + interval '1 h' WHERE state = 'PENDING'")
        bench.gate.set()

    seen: dict[str, Any] = {}
    worker = threading.Thread(target=look)
    worker.start()
    slot.work()
    worker.join()
    assert seen["gone"]
    assert seen["after"] < 1.5  # 1 s, and a slow machine's share
    assert set(seen["first"]) == {State.SUCCESS}  # written while the long one ran
    assert seen["long"] is State.RUNNING
    views = [bench.read(handle) for handle in behind]
    assert {view.attempt for view in views} == {0}
    assert bench.read(long).state is State.SUCCESS


def test_the_lane_is_woken_again_when_the_slice_ends_with_work_left(settings: Settings) -> None:
    bench = Bench(settings.model_copy(update={"drain_slice": 0.001, "max_claim": 1}))
    handles = bench.submit("note", 50)
    bench.slot.work()
    assert 0 < len(bench.ran) < 50
    assert bench.states(handles).count(State.RUNNING) == 0
    celery = make_celery(settings)
    with celery.connection_for_read() as connection:
        waiting = connection.default_channel.queue_declare("steeple.*.default", passive=True).message_count
    assert waiting == 1
    bench.app.close()


def test_a_slot_that_can_hand_on_to_nobody_goes_on(settings: Settings) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    bench = Bench(settings.model_copy(update={"drain_slice": 0.001, "max_claim": 1}))
    handles = bench.submit("note", 20)
    bench.settings = Settings(**bench.settings.model_dump() | {"broker_url": nowhere})
    bench.slot.work()
    assert set(bench.states(handles)) == {State.SUCCESS}
    bench.app.close()


def test_a_draining_slot_claims_nothing(bench: Bench) -> None:
    handles = bench.submit("note", 3)
    bench.board.drain()
    bench.slot.work()
    assert set(bench.states(handles)) == {State.PENDING}


def test_draining_stops_a_slot_in_the_middle_of_a_backlog(bench: Bench) -> None:
    handles = bench.submit("note", 200)

    def drain_at_the_tenth(value: int, context: Any) -> int:
        if value == 10:
            bench.board.drain()
        return value

    bench.app._tasks["note"].function = drain_at_the_tenth
    bench.slot.work()
    states = bench.states(handles)
    assert states.count(State.RUNNING) == 0
    assert 11 <= states.count(State.SUCCESS) < 200
    assert all(bench.read(handle).attempt == 0 for handle in handles if bench.read(handle).state is State.PENDING)


def test_a_lost_reply_loses_no_outcome_and_no_claim(bench: Bench) -> None:
    handles = bench.submit("note", 40)
    slot = bench.slot
    losses = iter([False, True, False, True, True])

    def lose(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        """The statement is committed by now; its answer does not get through."""
        if "known_lane" in statement and next(losses, False):
            raise sqlalchemy.exc.OperationalError("lost", {}, psycopg.OperationalError("the connection is lost"))

    event.listen(slot._engine, "after_cursor_execute", lose)
    slot.work()
    assert set(bench.states(handles)) == {State.SUCCESS}
    assert sorted(bench.ran) == list(range(40))  # none twice
    assert {bench.read(handle).attempt for handle in handles} == {1}
    assert bench.sql("SELECT value FROM counters WHERE name = 'stale_finishes'") == []


def test_a_connection_that_the_server_ends_costs_nothing(bench: Bench) -> None:
    handles = bench.submit("note", 40)
    slot = bench.slot

    def cut(value: int, context: Any) -> int:
        if value in {3, 17}:
            bench.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return value

    bench.app._tasks["note"].function = cut
    slot.work()
    assert set(bench.states(handles)) == {State.SUCCESS}
    assert {bench.read(handle).attempt for handle in handles} == {1}


def test_a_result_that_postgresql_refuses_does_not_lose_its_neighbours(bench: Bench) -> None:
    handles = bench.submit("note", 5)
    bench.sql("ALTER TABLE jobs ADD CHECK (CAST(result AS text) <> '3')")
    bench.slot.work()
    views = [bench.read(handle) for handle in handles]
    assert [view.state for view in views] == [*[State.SUCCESS] * 3, State.FAILED, State.SUCCESS]
    assert '"bad_result"' in (views[3].error or "")


def test_a_stale_outcome_is_dropped_and_counted(bench: Bench) -> None:
    (handle,) = bench.submit("note")

    def lose_the_job(value: int, context: Any) -> int:
        bench.sql("UPDATE jobs SET fence = fence + 1, state = 'PENDING', run_at = now() + interval '1 h'")
        return value

    bench.app._tasks["note"].function = lose_the_job
    bench.slot.work()
    assert (bench.read(handle).state, bench.read(handle).fence) == (State.PENDING, 2)
    assert bench.sql("SELECT value FROM counters WHERE name = 'stale_finishes'") == [(1,)]


def test_a_stranger_waits_for_a_worker_that_knows_it(bench: Bench) -> None:
    (stranger,) = bench.submit("note")
    bench.sql("UPDATE jobs SET task = 'elsewhere'")
    mine = bench.submit("note", 3)
    bench.slot.work()
    assert set(bench.states(mine)) == {State.SUCCESS}
    assert (bench.read(stranger).state, bench.read(stranger).attempt) == (State.PENDING, 0)


def test_a_stranger_nobody_knows_fails_after_the_grace(bench: Bench) -> None:
    (stranger,) = bench.submit("note")
    bench.sql("UPDATE jobs SET task = 'gone', run_at = now() - interval '1 min'")
    bench.slot.work()
    view = bench.read(stranger)
    assert view.state is State.FAILED
    assert '"unknown_task"' in (view.error or "")


def test_a_stranger_known_to_another_worker_is_left_to_it(bench: Bench) -> None:
    (stranger,) = bench.submit("note")
    bench.sql("UPDATE jobs SET task = 'elsewhere', run_at = now() - interval '1 min'")
    other = NewWorker(new_id(), "other", "0", 1, Binding(), ("elsewhere",))
    in_transaction(bench.engine, lambda connection: workers.register(connection, other))
    bench.slot.work()
    assert (bench.read(stranger).state, bench.read(stranger).attempt) == (State.PENDING, 0)


def test_high_goes_before_low_at_each_claim(settings: Settings) -> None:
    bench = Bench(settings.model_copy(update={"max_claim": 1}))
    bench.app.submit_batch("note", [{"value": 100}, {"value": 101}], priority="low")
    bench.app.submit_batch("note", [{"value": 1}], priority="high")

    def submit_one_more(value: int, context: Any) -> int:
        bench.ran.append(value)
        if value == 100:
            bench.app.submit("note", {"value": 2}, priority="high")
        return value

    bench.app._tasks["note"].function = submit_one_more
    bench.slot.work()
    assert bench.ran == [1, 100, 2, 101]
    bench.app.close()

"""Unique keys from Python: which job a handle is of, in the caller's transaction too; and a queue's own priority."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from steeple import Priority, State, Steeple
from steeple.domain.unique import OnConflict
from steeple.embedded.processes import wait_until
from steeple.errors import InvalidJob, UniqueKeyHeld
from steeple.store import queue_settings
from steeple.store.queue_settings import QueueChange
from steeple.store.reads import JobView
from steeple.submission import read_options, request_hash

Stored = Callable[[Any], JobView]
Count = Callable[[], int]


@pytest.fixture
def app(app: Steeple) -> Steeple:
    @app.task("ship")
    def ship(order: int) -> None: ...

    @app.task("bill", priority="default")
    def bill(order: int) -> None: ...

    return app


def submit(app: Steeple, order: int = 1, **options: Any) -> Any:
    return app.submit("ship", {"order": order}, **({"unique_key": "u"} | options))


@pytest.mark.parametrize("way", ["existing", "replace", "debounce"])
def test_a_handle_is_of_the_job_that_held_the_key_and_says_so(app: Steeple, count: Count, way: str) -> None:
    first = submit(app, delay=60)
    again = submit(app, on_conflict=way, delay=timedelta(seconds=90))
    assert (again == first, first.conflict, again.conflict) == (True, None, OnConflict(way))
    assert count() == 1


def test_a_replaced_job_has_the_new_arguments(app: Steeple, stored: Stored) -> None:
    first = submit(app, delay=60)
    submit(app, 2, on_conflict="replace")
    assert json.loads(stored(first).args) == {"order": 2}


def test_states_and_period_are_stored(app: Steeple, stored: Stored) -> None:
    job = stored(submit(app, unique_states=["PENDING", State.SUCCESS], unique_period=timedelta(hours=1)))
    assert job.unique_states == (State.PENDING, State.SUCCESS)
    assert job.unique_until == job.created_at + timedelta(hours=1)


@pytest.mark.parametrize(
    "options",
    [
        {"unique_states": ["RUNNING"]},
        {"unique_states": []},
        {"on_conflict": "x"},
        {"unique_key": None, "unique_period": 1},
    ],
    ids=str,
)
def test_what_cannot_be_chosen_is_refused(app: Steeple, count: Count, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        submit(app, **options)
    assert count() == 0


def test_in_a_batch_every_handle_is_of_its_job(app: Steeple, count: Count) -> None:
    first = submit(app, delay=60)
    handles = app.submit_batch("ship", [{"order": 1}, {"order": 2}], unique_key="u", on_conflict="existing")
    assert handles == [first, first]
    fresh = app.submit_batch("ship", [{"order": 1}, {"order": 2}], unique_key="v", on_conflict="replace")
    assert [handle.conflict for handle in fresh] == [None, OnConflict.REPLACE]
    assert fresh[0] == fresh[1]
    assert count() == 2


def test_a_repeated_request_comes_to_the_same_job(app: Steeple, count: Count) -> None:
    first = submit(app, delay=60)
    options: dict[str, Any] = {"on_conflict": "existing", "idempotency_key": "k"}
    assert submit(app, **options) == first
    first.cancel()
    assert submit(app, **options) == first
    assert count() == 1


def test_a_replacement_is_rolled_back_with_the_callers_transaction(
    app: Steeple, engine: Engine, stored: Stored
) -> None:
    first = submit(app, delay=60)
    with engine.connect() as connection:
        submit(app, 2, on_conflict="replace", connection=connection)
        connection.rollback()
    assert json.loads(stored(first).args) == {"order": 1}


def test_a_refused_replacement_leaves_the_callers_transaction_usable(app: Steeple, engine: Engine) -> None:
    held = submit(app)
    with engine.begin() as other:
        other.execute(text("UPDATE jobs SET state = 'RUNNING', fence = 1, attempt = 1"))
    with engine.connect() as connection:
        with pytest.raises(UniqueKeyHeld) as refused:
            submit(app, 2, on_conflict="replace", connection=connection)
        assert refused.value.job_id == str(held.id)
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_long_transaction_that_has_a_running_job_let_go_holds_no_lock_on_it(
    app: Steeple, engine: Engine, count: Count
) -> None:
    submit(app, unique_period=0.001)
    with engine.begin() as other:
        other.execute(text("UPDATE jobs SET state = 'RUNNING', fence = 1, attempt = 1"))
    with engine.connect() as connection:
        assert submit(app, connection=connection).conflict is None
        with engine.begin() as other:
            other.execute(text("SELECT FROM jobs FOR UPDATE NOWAIT"))
        connection.commit()
    assert count() == 2


def test_a_queue_says_which_priority_its_jobs_have_if_nobody_else_does(
    app: Steeple, engine: Engine, stored: Stored
) -> None:
    with engine.begin() as connection:
        change = QueueChange(frozenset({"default_priority"}), default_priority=Priority.HIGH)
        queue_settings.change(connection, "default", change)

    def priority(task: str, **options: Any) -> Priority:
        return stored(app.submit(task, {"order": 1}, **options)).priority

    assert priority("ship") == Priority.HIGH
    assert priority("ship", priority="low") == Priority.LOW
    assert priority("ship", queue="other") == Priority.DEFAULT
    assert priority("bill") == Priority.DEFAULT
    assert {stored(handle).priority for handle in app.submit_batch("ship", [{"order": 1}])} == {Priority.HIGH}


def test_a_joined_transaction_asks_for_the_priority_over_its_own_connection(
    app: Steeple, engine: Engine, stored: Stored
) -> None:
    with engine.connect() as connection:
        change = QueueChange(frozenset({"default_priority"}), default_priority=Priority.LOW)
        queue_settings.change(connection, "default", change)
        handle = app.submit("ship", {"order": 1}, connection=connection)
        connection.commit()
    assert stored(handle).priority == Priority.LOW


def test_a_change_of_the_priority_is_seen_within_a_second(app: Steeple, engine: Engine, stored: Stored) -> None:
    assert stored(app.submit("ship", {"order": 1})).priority == Priority.DEFAULT
    with engine.begin() as connection:
        change = QueueChange(frozenset({"default_priority"}), default_priority=Priority.LOW)
        queue_settings.change(connection, "default", change)
    assert wait_until(lambda: stored(app.submit("ship", {"order": 1})).priority == Priority.LOW, 10)


def test_requests_that_do_without_the_newer_options_keep_their_hash() -> None:
    """The hashes of earlier versions are in the database: the same request must still be the same."""
    asked: dict[str, Any] = {
        "queue": None,
        "priority": None,
        "run_at": None,
        "delay": None,
        "expires_at": None,
        "timeout": None,
        "max_attempts": None,
        "unique_key": "u",
        "tags": [],
        "retry": None,
    }
    known = hashlib.sha256(json.dumps(["ship", '{"order":1}', asked]).encode()).digest()
    assert request_hash("ship", '{"order":1}', read_options({"unique_key": "u"})) == known
    assert request_hash("ship", '{"order":1}', read_options({"unique_key": "u", "on_conflict": "existing"})) != known

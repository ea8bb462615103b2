"""Submitting from Python: options, keys, batches, and that a refusal stores nothing."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from steeple import Handle, Priority, Retry, Settings, State, Steeple
from steeple.app import Submittable
from steeple.errors import (
    ConfigurationError,
    IdempotencyKeyReused,
    InvalidArguments,
    InvalidJob,
    TooLarge,
    UniqueKeyHeld,
)
from steeple.store import transitions
from steeple.store.reads import JobView

Stored = Callable[[Any], JobView]
Count = Callable[[], int]

TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def render(app: Steeple) -> Submittable[..., Any]:
    @app.task("reports.render", queue="reports", priority="low", timeout=60.0, retry=Retry(max_attempts=5))
    def render(month: str, copies: int = 1) -> None: ...

    return render


def test_a_job_takes_what_its_task_says(render: Submittable[..., Any], stored: Stored) -> None:
    handle = render.submit("2026-10", copies=2)

    job = stored(handle)
    assert handle.id.version == 7
    assert (job.task, json.loads(job.args)) == ("reports.render", {"month": "2026-10", "copies": 2})
    assert (job.state, job.queue, job.priority) == (State.PENDING, "reports", Priority.LOW)
    assert (job.timeout, job.max_attempts, job.attempt, job.tags) == (60.0, 5, 0, ())
    assert job.run_at == job.created_at


def test_options_of_the_job_go_before_those_of_its_task(render: Submittable[..., Any], stored: Stored) -> None:
    options: dict[str, Any] = {"queue": "q", "priority": "high", "run_at": TOMORROW, "timeout": 5, "max_attempts": 1}
    options |= {"expires_at": TOMORROW + timedelta(hours=1), "unique_key": "r", "tags": ["b", "a", "b"]}

    job = stored(render.submit.with_options(**options)("2026-10"))

    assert (job.queue, job.priority, job.run_at, job.timeout) == ("q", Priority.HIGH, TOMORROW, 5.0)
    assert (job.max_attempts, job.unique_key, job.tags) == (1, "r", ("b", "a"))
    assert job.expires_at == TOMORROW + timedelta(hours=1)


def test_options_add_up_and_leave_the_submitter_that_they_came_from(
    render: Submittable[..., Any], stored: Stored
) -> None:
    high = render.submit.with_options(priority="high")
    tagged = high.with_options(tags=["nightly"])

    assert (stored(tagged("x")).priority, stored(tagged("x")).tags) == (Priority.HIGH, ("nightly",))
    assert stored(high("x")).tags == ()
    assert stored(render.submit("x")).priority is Priority.LOW


def test_a_retry_policy_of_the_job_also_sets_its_attempts(
    render: Submittable[..., Any], stored: Stored, engine: Engine
) -> None:
    policy = Retry(max_attempts=2, initial=9.0)
    handle = render.submit.with_options(retry=policy)("x")

    assert stored(handle).max_attempts == 2
    with engine.begin() as connection:
        (kept,) = connection.exec_driver_sql("SELECT retry FROM jobs").scalars()
    assert Retry(**kept) == policy


@pytest.mark.parametrize("delay", [90, 90.0, timedelta(seconds=90)])
def test_a_delay_counts_from_the_databases_now(render: Submittable[..., Any], stored: Stored, delay: Any) -> None:
    job = stored(render.submit.with_options(delay=delay)("x"))
    assert job.run_at - job.created_at == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"queue": "a b"}, "/queue"),
        ({"priority": "urgent"}, "/priority"),
        ({"run_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))}, "/run_at"),
        ({"run_at": datetime(2026, 1, 1)}, "/run_at"),  # noqa: DTZ001 - without a time zone on purpose
        ({"run_at": TOMORROW, "delay": 1}, ""),
        ({"delay": -1}, "/delay"),
        ({"delay": float("nan")}, "/delay"),
        ({"timeout": 0}, "/timeout"),
        ({"timeout": float("inf")}, "/timeout"),
        ({"max_attempts": 0}, "/max_attempts"),
        ({"max_attempts": 2**31}, "/max_attempts"),
        ({"unique_key": ""}, "/unique_key"),
        ({"unique_key": "a\x00"}, "/unique_key"),
        ({"tags": ["ok", "\ud800"]}, "/tags/1"),
        ({"tags": ["x"] * 33}, "/tags"),
        ({"idempotency_key": "k" * 256}, "/idempotency_key"),
        ({"retry": 3}, "/retry"),
        ({"speed": "fast"}, "/speed"),
    ],
)
def test_a_bad_option_is_refused_at_its_place_already_by_with_options(
    render: Submittable[..., Any], count: Count, options: dict[str, Any], place: str
) -> None:
    for submit in (lambda: render.submit.with_options(**options), lambda: render.submit.app.submit("x", {}, **options)):
        with pytest.raises(InvalidJob) as caught:
            submit()
        assert [fault.pointer for fault in caught.value.errors] == [place]
    assert count() == 0


def test_wrong_arguments_are_refused_and_never_queued(render: Submittable[..., Any], count: Count) -> None:
    with pytest.raises(InvalidArguments) as caught:
        render.submit(copies="many", colour="red")

    assert [fault.pointer for fault in caught.value.errors] == ["/args/month", "/args/copies", "/args/colour"]
    assert count() == 0


def test_arguments_over_the_limit_are_refused_by_their_size_in_bytes(database_url: str) -> None:
    app = Steeple(Settings(database_url=database_url, max_args_bytes=20))
    task = app.task("t")(lambda text: None)

    assert task.submit(text="é" * 4).state() is State.PENDING  # {"text":"éééé"} takes 19 bytes
    with pytest.raises(TooLarge) as caught:
        task.submit(text="é" * 5)
    assert (caught.value.what, caught.value.size, caught.value.limit) == ("args", 21, 20)
    app.close()


def test_the_same_idempotency_key_and_request_give_the_same_job(render: Submittable[..., Any], count: Count) -> None:
    submit = render.submit.with_options(idempotency_key="k", delay=5)

    assert submit("x", copies=2) == submit(copies=2, month="x")
    assert count() == 1


@pytest.mark.parametrize("other", [{"month": "y"}, {"month": "x", "copies": 1}])
def test_the_same_idempotency_key_for_another_request_is_refused(
    render: Submittable[..., Any], count: Count, other: dict[str, Any]
) -> None:
    submit = render.submit.with_options(idempotency_key="k")
    first = submit("x")

    with pytest.raises(IdempotencyKeyReused) as caught:
        submit(**other)

    assert (caught.value.key, caught.value.job_id) == ("k", str(first.id))
    assert count() == 1


@pytest.mark.parametrize("option", [{"priority": "high"}, {"delay": 6}, {"retry": Retry()}, {"tags": ["a"]}])
def test_other_options_make_it_another_request(
    render: Submittable[..., Any], count: Count, option: dict[str, Any]
) -> None:
    submit = render.submit.with_options(idempotency_key="k", delay=5)
    submit("x")

    with pytest.raises(IdempotencyKeyReused):
        submit.with_options(**option)("x")
    assert count() == 1


def test_a_repeat_after_the_tasks_defaults_have_changed_is_still_a_repeat(settings: Settings, count: Count) -> None:
    ids = set()
    for timeout in (60.0, 90.0):  # as before and after a deployment
        app = Steeple(settings)
        task = app.task("t", timeout=timeout)(lambda: None)
        ids.add(task.submit.with_options(idempotency_key="k")().id)
        app.close()

    assert len(ids) == count() == 1


def test_an_active_job_holds_its_unique_key_until_it_ends(
    render: Submittable[..., Any], engine: Engine, count: Count
) -> None:
    submit = render.submit.with_options(unique_key="r")
    first = submit("x")

    with pytest.raises(UniqueKeyHeld) as caught:
        submit("x")
    assert (caught.value.unique_key, caught.value.job_id) == ("r", str(first.id))

    with engine.begin() as connection:
        transitions.cancel(connection, first.id)
    assert submit("x").id != first.id
    assert count() == 2


def test_a_batch_is_stored_in_its_order(app: Steeple, render: Submittable[..., Any], stored: Stored) -> None:
    handles = app.submit_batch("reports.render", ({"month": str(each)} for each in range(300)), priority="high")

    assert [json.loads(stored(handle).args)["month"] for handle in handles[:3]] == ["0", "1", "2"]
    assert [handle.id for handle in handles] == sorted(handle.id for handle in handles)
    assert {stored(handle).priority for handle in handles} == {Priority.HIGH}
    assert len({handle.id for handle in handles}) == 300


def test_an_empty_batch_is_no_job(app: Steeple, render: Submittable[..., Any], count: Count) -> None:
    assert app.submit_batch("reports.render", []) == []
    assert count() == 0


def test_a_fault_in_a_batch_names_its_job_and_stores_none(
    app: Steeple, render: Submittable[..., Any], count: Count
) -> None:
    with pytest.raises(InvalidArguments) as caught:
        app.submit_batch("reports.render", [{"month": "x"}, {"month": "y", "copies": "many"}])

    assert [fault.pointer for fault in caught.value.errors] == ["/args/1/copies"]
    assert count() == 0


def test_a_batch_whose_jobs_contend_for_a_unique_key_stores_none(
    app: Steeple, render: Submittable[..., Any], count: Count
) -> None:
    with pytest.raises(UniqueKeyHeld):
        app.submit_batch("reports.render", [{"month": "x"}, {"month": "y"}], unique_key="r")
    assert count() == 0


def test_an_idempotency_key_is_not_for_a_batch(app: Steeple, render: Submittable[..., Any], count: Count) -> None:
    with pytest.raises(InvalidJob, match="/idempotency_key"):
        app.submit_batch("reports.render", [{"month": "x"}], idempotency_key="k")
    assert count() == 0


async def _submitted(app: Steeple) -> Handle:
    return await app.submit_async("reports.render", {"month": "x"}, priority="high")


def test_asyncio_submits_too(app: Steeple, render: Submittable[..., Any], stored: Stored) -> None:
    assert stored(asyncio.run(_submitted(app))).priority is Priority.HIGH


def test_an_app_that_was_closed_opens_again(app: Steeple, render: Submittable[..., Any], count: Count) -> None:
    render.submit("x")
    app.close()
    render.submit("y")
    assert count() == 2


def test_without_a_database_it_says_which_setting_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEEPLE_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    task = Steeple().task("t")(lambda: None)

    with pytest.raises(ConfigurationError, match="STEEPLE_DATABASE_URL"):
        task.submit()


def test_settings_are_read_from_the_environment_at_the_first_submit(
    monkeypatch: pytest.MonkeyPatch, database_url: str, count: Count
) -> None:
    app = Steeple()
    task = app.task("t")(lambda: None)
    monkeypatch.setenv("STEEPLE_DATABASE_URL", database_url)

    task.submit()

    assert count() == 1
    app.close()


_FORKING = """
import os, sys
from steeple import Settings, Steeple

app = Steeple(Settings(database_url=sys.argv[1]))
task = app.task("t")(lambda: None)
task.submit()
child = os.fork()
for _ in range(20):
    task.submit()
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_parent_and_child_submit_over_connections_of_their_own(database_url: str, count: Count) -> None:
    ended = subprocess.run([sys.executable, "-c", _FORKING, database_url], capture_output=True, text=True, timeout=60)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert count() == 41


def test_a_handle_is_made_of_an_id_that_was_kept(app: Steeple, render: Submittable[..., Any]) -> None:
    first = render.submit("x")
    assert app.handle(str(first.id)) == first == app.handle(first.id)
    assert app.handle(UUID(int=0)) != first

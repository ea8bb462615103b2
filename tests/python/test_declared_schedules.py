"""``@app.schedule``: what is declared in code, and what becomes of it when parts start."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from steeple import Steeple
from steeple.domain.priority import Priority
from steeple.domain.schedule import CatchUp, Definition, Overlap, Source
from steeple.errors import InvalidArguments, InvalidSchedule, TaskDefinitionError
from steeple.schedule_changes import create, pause
from steeple.store.schedules import ScheduleFilter, ScheduleView, read_page
from steeple.submission import new_id


def kept(engine: Engine) -> dict[str, ScheduleView]:
    with engine.begin() as connection:
        found, _ = read_page(connection, ScheduleFilter(), limit=100)
    return {each.definition.name: each for each in found}


def start(engine: Engine, app: Steeple) -> None:
    """As each part does."""
    with engine.begin() as connection:
        app.announce(connection)


def declare(app: Steeple, *names: str | None, **options: Any) -> Any:
    def task(month: str = "this") -> str:
        return month

    found = app.task("books.report", queue="books", priority="low")(task)
    for name in names:
        found = app.schedule(name, **options)(found)
    return found


def test_a_declaration_says_what_the_schedule_will_be(app: Steeple) -> None:
    task = declare(
        app,
        "close",
        cron="0 18 L * *",
        timezone="Europe/Berlin",
        args={"month": "last"},
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        jitter=timedelta(minutes=1),
        overlap="queue",
        catch_up="all",
    )
    assert task("x") == "x"
    found = app.schedules["close"]
    assert (found.task, found.args, found.queue, found.priority) == (
        "books.report",
        '{"month":"last"}',
        "books",
        Priority.LOW,
    )
    assert (found.cron, found.timezone, found.jitter) == ("0 18 L * *", "Europe/Berlin", 60.0)
    assert (found.overlap, found.catch_up) == (Overlap.QUEUE, CatchUp.ALL)


def test_it_goes_by_the_task_s_name_unless_it_has_one_and_can_be_repeated(app: Steeple) -> None:
    declare(app, None, "second", interval=timedelta(hours=2))
    assert {name: each.interval for name, each in app.schedules.items()} == {"books.report": 7200.0, "second": 7200.0}


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"cron": "nonsense"}, "/cron"),
        ({}, ""),
        ({"cron": "@daily", "interval": 5}, "/interval"),
        ({"cron": "@daily", "timezone": "Mars"}, "/timezone"),
        ({"cron": "@daily", "colour": "red"}, "/colour"),
        ({"times": [datetime(2030, 1, 1)]}, "/times/0"),  # noqa: DTZ001 - a time without a zone
    ],
)
def test_what_cannot_be_is_refused_where_it_is_declared(app: Steeple, options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        declare(app, "s", **options)
    assert [each.pointer for each in caught.value.errors] == [pointer]
    assert app.schedules == {}


def test_so_are_arguments_that_do_not_fit_names_given_twice_and_functions_that_are_no_tasks(app: Steeple) -> None:
    with pytest.raises(InvalidArguments):
        declare(app, "s", cron="@daily", args={"year": 1})
    other = Steeple()
    with pytest.raises(TaskDefinitionError, match="declared already"):
        declare(other, "s", "s", cron="@daily")
    with pytest.raises(TaskDefinitionError, match=r"above @app\.task"):
        app.schedule("s", cron="@daily")(lambda: None)  # type: ignore[arg-type]


def test_each_start_keeps_what_is_declared_and_touches_nothing_that_is_the_same(app: Steeple, engine: Engine) -> None:
    declare(app, "s", interval=3600)
    start(engine, app)
    first = kept(engine)["s"]
    assert (first.source, first.version, first.definition) == (Source.CODE, 1, app.schedules["s"])
    start(engine, app)
    again = Steeple(app._backend.settings)
    declare(again, "s", interval=3600)
    start(engine, again)
    assert kept(engine) == {"s": first}


def test_what_has_changed_in_code_is_changed_and_a_pause_stays(app: Steeple, engine: Engine) -> None:
    declare(app, "s", interval=3600)
    start(engine, app)
    first = kept(engine)["s"]
    with engine.begin() as connection:
        pause(connection, first.id, "for now")
    changed = Steeple(app._backend.settings)
    declare(changed, "s", cron="@daily")
    start(engine, changed)
    second = kept(engine)["s"]
    assert (second.id, second.definition.cron, second.definition.interval) == (first.id, "@daily", None)
    assert (second.paused, second.pause_note, second.version) == (True, "for now", 3)


def test_what_is_no_longer_declared_stays(app: Steeple, engine: Engine) -> None:
    declare(app, "s", interval=3600)
    start(engine, app)
    start(engine, Steeple(app._backend.settings))
    assert set(kept(engine)) == {"s"}


def test_a_name_of_a_schedule_that_was_made_over_http_is_left_to_it(
    app: Steeple, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    definition = Definition("s", "t", "{}", "default", Priority.DEFAULT, interval=60.0)
    with engine.begin() as connection:
        create(connection, new_id(), definition)
    declare(app, "s", interval=3600)
    app.schedule("fine", cron="@daily")(app.task("other")(lambda: None))
    start(engine, app)
    found = kept(engine)
    assert (found["s"].source, found["s"].definition) == (Source.API, definition)
    assert found["fine"].source is Source.CODE
    assert "schedule_name_taken" in caplog.text

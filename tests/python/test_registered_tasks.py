"""Tasks known only from the table of tasks: a JSON Schema checks their arguments as the worker would."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from steeple import Context, Priority, Retry, Settings, Steeple
from steeple.catalogue import RegisteredTask
from steeple.errors import InvalidArguments, UnknownTask
from steeple.store.reads import JobView
from steeple.store.tasks import register


class Colour(Enum):
    RED = "red"


class Address(BaseModel):
    street: str


_workers_app = Steeple()


@_workers_app.task(
    "reports.render", queue="reports", priority="high", timeout=60.0, retry=Retry(max_attempts=7, initial=0.5)
)
def render(
    month: date,
    at: datetime | None = None,
    wait: timedelta = timedelta(0),
    key: UUID | None = None,
    raw: bytes = b"",
    price: Decimal = Decimal(1),
    colour: Colour = Colour.RED,
    home: Address | None = None,
    copies: Annotated[int, Field(ge=1)] = 1,
    extra: Any = None,
) -> None: ...


REGISTERED = RegisteredTask(render.record)


def _places(act: Callable[..., object], *arguments: Any) -> list[str]:
    with pytest.raises(InvalidArguments) as caught:
        act(*arguments)
    return [fault.pointer for fault in caught.value.errors]


def test_python_values_become_the_same_json_as_with_the_code_at_hand() -> None:
    arguments = {
        "month": date(2026, 10, 1),
        "at": datetime(2026, 10, 1, tzinfo=UTC),
        "wait": timedelta(minutes=5),
        "key": UUID(int=7),
        "raw": b"\xff\xfe",
        "price": Decimal("1.50"),
        "colour": Colour.RED,
        "home": Address(street="Elm"),
        "copies": 2,
        "extra": [1, "é", None],
    }

    text = REGISTERED.encode(arguments)

    assert json.loads(text) == json.loads(render.encode(arguments))
    assert render.decode(text, Context.testing) == arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"month": "2026-10-01", "nowhere": 1},
        {"month": "October"},
        {"month": "2026-10-01", "at": "yesterday"},
        {"month": "2026-10-01", "wait": "soon"},
        {"month": "2026-10-01", "key": "7"},
        {"month": "2026-10-01", "copies": 0},
        {"month": "2026-10-01", "copies": "x"},
        {"month": "2026-10-01", "colour": "blue"},
        {"month": "2026-10-01", "extra": [float("nan")]},
        {"month": "2026-10-01", "extra": {"a": "\ud800"}},
        {"month": "2026-10-01", "extra": ["\x00"]},
        {"month": "2026-10-01", "extra": [10**5000]},
    ],
)
def test_what_the_worker_would_refuse_is_refused_at_the_same_place(arguments: dict[str, Any]) -> None:
    with_code = _places(render.encode, arguments)
    assert _places(REGISTERED.encode, arguments) == with_code
    assert len(with_code) == 1


@pytest.mark.parametrize("at", ["2026-10-01T00:00:00Z", "2026-10-01T00:00:00+02:00", "2026-10-01 00:00", "1790000000"])
def test_a_moment_is_read_as_the_worker_reads_it(at: str) -> None:
    text = json.dumps({"month": "2026-10-01", "at": at})
    render.check(text)
    REGISTERED.check(text)


@pytest.mark.parametrize("number", ["NaN", "1e400", "9" * 5000])
def test_a_number_past_what_can_be_read_back_is_refused_at_its_place(number: str) -> None:
    assert _places(REGISTERED.check, f'{{"month": "2026-10-01", "extra": [{number}]}}') == ["/args/extra/0"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"month":' + "[" * 100_000])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    assert _places(REGISTERED.check, text) == ["/args"]


def test_what_is_no_json_is_refused_at_its_place() -> None:
    assert _places(REGISTERED.encode, {"month": "2026-10-01", "extra": [object()]}) == ["/args/extra/0"]


def test_all_missing_names_are_told_once_each() -> None:
    app = Steeple()

    @app.task("t")
    def work(a: int, b: int) -> None: ...

    assert _places(RegisteredTask(work.record).encode, {}) == ["/args/a", "/args/b"]


def test_a_job_is_submitted_by_the_name_of_a_task_that_only_a_worker_has(
    app: Steeple, engine: Engine, stored: Callable[[Any], JobView]
) -> None:
    with engine.begin() as connection:
        register(connection, [render.record])

    job = stored(app.submit("reports.render", {"month": date(2026, 10, 1)}))

    assert (job.task, job.queue, job.priority) == ("reports.render", "reports", Priority.HIGH)
    assert (job.timeout, job.max_attempts) == (60.0, 7)
    assert json.loads(job.args) == {"month": "2026-10-01"}
    with pytest.raises(InvalidArguments):
        app.submit("reports.render", {"month": "October"})


def test_a_task_that_was_unknown_a_moment_ago_is_found_once_a_worker_has_it(app: Steeple, engine: Engine) -> None:
    with pytest.raises(UnknownTask):
        app.submit("reports.render", {"month": "2026-10-01"})
    with engine.begin() as connection:
        register(connection, [render.record])

    app.submit("reports.render", {"month": "2026-10-01"})


def test_a_task_that_nobody_has_is_unknown(settings: Settings, count: Callable[[], int]) -> None:
    app = Steeple(settings)
    app.task("known")(lambda: None)

    with pytest.raises(UnknownTask) as caught:
        app.submit("nowhere")

    assert (caught.value.task, caught.value.known) == ("nowhere", ("known",))
    assert count() == 0
    app.close()

"""Arguments on their way: checked against the hints when submitted, JSON between, the hinted types when run."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from steeple import Context, Steeple
from steeple.errors import FieldError, InvalidArguments
from steeple.task import Task

CONTEXT = Context.testing()
AN_ID = UUID("01900000-0000-7000-8000-000000000001")


class Colour(Enum):
    RED = "red"


class Address(BaseModel):
    street: str
    since: date | None = None


@dataclass(frozen=True)
class Size:
    width: int
    height: int


def _task(function: Callable[..., Any]) -> Task[..., Any]:
    return Steeple().task("t")(function)


def _task_of(hint: Any) -> Task[..., Any]:
    def work(value):  # type: ignore[no-untyped-def]
        return value

    work.__annotations__["value"] = hint
    return _task(work)


def _faults(act: Callable[..., object], *arguments: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidArguments) as caught:
        act(*arguments)
    assert caught.value.task == "t"
    assert str(caught.value).startswith("t: /args")
    return [(fault.pointer, fault.detail) for fault in caught.value.errors]


def _places(act: Callable[..., object], *arguments: Any) -> list[str]:
    return [place for place, _ in _faults(act, *arguments)]


@pytest.mark.parametrize(
    ("hint", "value", "on_the_way"),
    [
        (date, date(2026, 10, 25), "2026-10-25"),
        (datetime, datetime(2026, 10, 25, 2, tzinfo=UTC), "2026-10-25T02:00:00Z"),
        (datetime, datetime(2026, 10, 25, 2, tzinfo=timezone(timedelta(hours=2))), "2026-10-25T02:00:00+02:00"),
        (timedelta, timedelta(days=1, milliseconds=1), "P1DT0.001S"),
        (UUID, AN_ID, str(AN_ID)),
        (Colour, Colour.RED, "red"),
        (Address, Address(street="Elm", since=date(2020, 1, 1)), {"street": "Elm", "since": "2020-01-01"}),
        (list[Address], [Address(street="Elm")], [{"street": "Elm", "since": None}]),
        (Size, Size(1, 2), {"width": 1, "height": 2}),
        (Decimal, Decimal("0.10"), "0.10"),
        (bytes, b"\xff\x00\xfe", "_wD-"),
        (set[int], {7}, [7]),
        (tuple[int, str], (1, "a"), [1, "a"]),
        (dict[int, date], {3: date(2026, 1, 1)}, {"3": "2026-01-01"}),
        (int | None, None, None),
        (int | str, "1", "1"),
        (Literal["a", "b"], "b", "b"),
        (float, 0.1, 0.1),
        (int, 2**200, 2**200),
        (Any, {"a": [1, None, "é", 10**400]}, {"a": [1, None, "é", 10**400]}),
    ],
)
def test_a_value_arrives_as_it_was_given(hint: Any, value: Any, on_the_way: Any) -> None:
    task = _task_of(hint)

    text = task.encode({"value": value})

    assert json.loads(text) == {"value": on_the_way}
    arrived = task.decode(text, Context.testing)["value"]
    assert arrived == value
    assert type(arrived) is type(value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
                    lambda each: st.lists(each) | st.dictionaries(st.text("abc"), each), max_leaves=20))  # fmt: skip
def test_any_json_arrives_as_it_was_given(value: Any) -> None:
    task = _task_of(Any)
    arrived = task.decode(task.encode({"value": value}), Context.testing)["value"]
    assert json.dumps(arrived) == json.dumps(value)


@given(st.binary())
def test_any_bytes_arrive_as_they_were_given(value: bytes) -> None:
    task = _task_of(bytes)
    assert task.decode(task.encode({"value": value}), Context.testing) == {"value": value}


def test_what_is_left_out_is_left_to_the_function() -> None:
    @_task
    def work(a: int, b: int = 2, *, c: datetime | None = None) -> int:
        return a + b

    text = work.encode({"a": 1})
    assert text == '{"a":1}'
    assert work(**work.decode(text, Context.testing)) == 3


def test_the_schema_names_types_bounds_and_defaults() -> None:
    @_task
    def work(a: Annotated[int, Field(ge=0, description="How many.")], b: bytes, c: Colour = Colour.RED) -> None: ...

    properties = work.record.schema["properties"]
    assert properties["a"] == {"title": "A", "type": "integer", "minimum": 0, "description": "How many."}
    assert properties["b"] == {"title": "B", "type": "string", "format": "base64url"}
    assert properties["c"]["default"] == "red"
    assert work.record.schema["required"] == ["a", "b"]


def test_a_default_that_is_not_json_is_left_out_of_the_schema() -> None:
    @_task
    def work(a: Any = CONTEXT.is_cancelled) -> None: ...

    assert work.record.schema["properties"]["a"] == {"title": "A"}


def test_every_fault_is_told_at_its_place() -> None:
    @_task
    def work(a: Annotated[int, Field(ge=0)], b: list[Address], c: str) -> None: ...

    faults = _faults(work.encode, {"a": -1, "b": [{"street": "Elm"}, {"since": "x"}], "d/e~": 1})
    assert [place for place, _ in faults] == [
        "/args/a",
        "/args/b/1/street",
        "/args/b/1/since",
        "/args/c",
        "/args/d~1e~0",
    ]
    assert faults[0][1] == "Input should be greater than or equal to 0"
    assert faults[3][1] == "Field required"


def test_a_fault_in_a_union_is_told_at_the_value_not_at_the_members_that_were_tried() -> None:
    task = _task_of(int | Address | dict[str, int])
    assert set(_places(task.encode, {"value": {"street": []}})) == {"/args/value", "/args/value/street"}
    assert set(_places(task.check, '{"value": {"since": "x"}}')) == {
        "/args/value",
        "/args/value/street",
        "/args/value/since",
    }


def test_a_fault_in_a_key_is_told_at_the_key() -> None:
    assert _places(_task_of(dict[int, int]).check, '{"value": {"x": 1}}') == ["/args/value/x"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("hint", [Any, float, list[Any], dict[str, Any], float | None])
def test_what_is_no_finite_number_is_refused_wherever_it_hides(hint: Any, value: float) -> None:
    wrapped: Any = {list[Any]: [0, value], dict[str, Any]: {"x": value}}.get(hint, value)
    place = {list[Any]: "/args/value/1", dict[str, Any]: "/args/value/x"}.get(hint, "/args/value")
    assert _places(_task_of(hint).encode, {"value": wrapped}) == [place]


def test_nan_in_a_model_that_would_write_it_as_null_is_refused() -> None:
    class Reading(BaseModel):
        degrees: float | None

    task = _task_of(Reading)
    assert _places(task.encode, {"value": Reading(degrees=float("nan"))}) == ["/args/value/degrees"]


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", "x\udfff"])
def test_text_that_cannot_be_stored_is_refused_at_its_place(text: str) -> None:
    for hint, value, place in [
        (str, text, "/args/value"),
        (Any, [1, {"a": [text]}], "/args/value/1/a/0"),
        (list[Any], ["ok", text], "/args/value/1"),
    ]:
        ((found, detail),) = _faults(_task_of(hint).encode, {"value": value})
        assert found == place
        assert detail == "holds a NUL or half a surrogate pair, which cannot be stored"
        document = json.dumps({"value": value})
        assert _places(_task_of(hint).check, document) == [place]


def test_a_name_that_cannot_be_stored_is_refused_and_can_be_shown() -> None:
    ((place, detail),) = _faults(_task_of(Any).encode, {"value": {"a\x00\ud800": 1}})
    assert place == "/args/value/a\ufffd\ufffd"
    assert detail.startswith("the name holds a NUL")


def test_whole_surrogate_pairs_and_escapes_of_storable_characters_are_taken() -> None:
    _task_of(Any).check(r'{"value": ["\ud83d\ude00", "\u00e9", "\\u0000", "NaN", "1e999"]}')


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "9" * 5000, "1" + "0" * 400 + ".5"])
def test_a_number_past_what_can_be_read_back_is_refused_at_its_place(number: str) -> None:
    assert _places(_task_of(Any).check, f'{{"value": [0, {number}]}}') == ["/args/value/1"]


def test_a_whole_number_that_python_would_not_write_is_refused_at_its_place() -> None:
    assert _places(_task_of(Any).encode, {"value": [10**5000]}) == ["/args/value/0"]


def test_what_is_no_json_is_refused_at_its_place() -> None:
    assert _places(_task_of(Any).encode, {"value": [1, {"x": object()}]}) == ["/args/value/1/x"]


def test_what_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.extend([value, value])
    assert set(_faults(_task_of(Any).encode, {"value": value})) == {("/args/value", "is nested too deep, or in itself")}


@pytest.mark.parametrize("levels", [300, 100_000])
def test_deep_nesting_is_refused(levels: int) -> None:
    assert _places(_task_of(Any).check, '{"value":' + "[" * levels + "]" * levels + "}") == ["/args"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"x"', '{"value": 01}'])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    assert _places(_task_of(Any).check, text) == ["/args"]


@pytest.mark.parametrize("arguments", [[1], "value", None, 5])
def test_arguments_that_are_no_mapping_are_refused(arguments: Any) -> None:
    assert _places(_task_of(Any).encode, arguments) == ["/args"]


def test_a_value_that_would_not_read_back_is_refused_before_it_is_queued() -> None:
    class Narrow(BaseModel):
        a: int
        secret: str = Field(exclude=True)

    assert _places(_task_of(Narrow).encode, {"value": Narrow(a=1, secret="s")}) == ["/args/value/secret"]


def test_any_further_names_are_arguments_of_a_task_that_takes_them_and_have_its_hint() -> None:
    @_task
    def work(a: int, **rest: date) -> dict[str, date]:
        return rest

    text = work.encode({"a": 1, "b": date(2026, 1, 1)})
    assert work(**work.decode(text, Context.testing)) == {"b": date(2026, 1, 1)}
    assert work.record.schema["additionalProperties"] == {"type": "string", "format": "date"}
    assert _places(work.encode, {"a": 1, "b": "x"}) == ["/args/b"]


def test_nobody_but_the_worker_supplies_the_context() -> None:
    @_task
    def open_ended(context: Context, **rest: Any) -> None: ...

    @_task
    def closed(context: Context) -> None: ...

    for task in (open_ended, closed):
        assert _places(task.encode, {"context": 1}) == ["/args/context"]
        assert _places(task.check, '{"context": 1}') == ["/args/context"]


def test_a_call_binds_by_position_and_by_name_around_the_context() -> None:
    @_task
    def work(context: Context, a: int, b: int, *, c: int = 3) -> None: ...

    assert work.bind((1,), {"b": 2, "c": 4}) == {"a": 1, "b": 2, "c": 4}
    assert _places(work.bind, (1, 2, 3), {}) == ["/args"]
    assert _places(work.bind, (1,), {"a": 2}) == ["/args/a"]


def test_errors_carry_facts() -> None:
    with pytest.raises(InvalidArguments) as caught:
        _task_of(int).encode({"value": "x"})
    assert caught.value.errors == (
        FieldError("/args/value", "Input should be a valid integer, unable to parse string as an integer"),
    )

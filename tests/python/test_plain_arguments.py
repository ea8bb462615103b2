"""Which arguments take the short way to JSON, and that it leads to where the long one does."""

import json
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field, PlainSerializer, StringConstraints, TypeAdapter
from typing_extensions import TypedDict

from steeple import Context, Steeple, task
from steeple.errors import InvalidArguments
from steeple.plain_arguments import are_plain
from steeple.task import Task


class Colour(StrEnum):
    RED = "red"


class Address(TypedDict):
    street: str


PLAIN = [
    int,
    float,
    str,
    bool,
    None,
    int | None,
    int | str,
    list[int],
    dict[str, list[float | None]],
    Literal["a", 1, None],
    Annotated[int, Field(ge=0, description="How many.")],
    Annotated[str, Field(max_length=3, pattern="^a")],
]

_NOT_PLAIN = [
    Any,
    list,
    dict,
    date,
    bytes,
    Colour,
    Address,
    Literal[Colour.RED],
    dict[int, int],
    dict[Literal["a"], int],
    list[date],
    int | date,
    Annotated[int, AfterValidator(lambda value: value + 1)],
    Annotated[int, PlainSerializer(str)],
    Annotated[int, Field(alias="other")],
    Annotated[int, Field(exclude=True)],
    Annotated[str, StringConstraints(to_upper=True)],
]


def _schema(hint: Any) -> Any:
    return TypeAdapter(TypedDict("Arguments", {"value": hint})).core_schema  # type: ignore[operator]


def _task_of(hint: Any) -> Task[..., Any]:
    def work(value):  # type: ignore[no-untyped-def]
        return value

    work.__annotations__["value"] = hint
    return Steeple().task("t")(work)


@pytest.mark.parametrize("hint", PLAIN)
def test_what_json_holds_as_it_is_is_plain(hint: Any) -> None:
    assert are_plain(_schema(hint))


@pytest.mark.parametrize("hint", _NOT_PLAIN)
def test_what_is_changed_on_the_way_or_might_be_is_not_plain(hint: Any) -> None:
    assert not are_plain(_schema(hint))


def test_a_task_that_takes_any_further_names_has_no_plain_arguments() -> None:
    @Steeple().task("t")
    def work(context: Context, **rest: int) -> None: ...

    with pytest.raises(InvalidArguments, match="/args/context"):
        work.encode({"context": 1})


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**400), 10**400) | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3),
    max_leaves=5,
)


def _encoded(task: Task[..., Any], value: Any) -> Any:
    """What is written, or why it is refused."""
    try:
        return json.loads(task.encode({"value": value}))
    except InvalidArguments as error:
        return error.errors


@example(str, "a\x00")
@example(str, "a\ud800")
@example(dict[str, list[float | None]], {"\x00": []})
@example(int, 10**400)
@given(st.sampled_from(PLAIN), _VALUES)
def test_the_short_way_and_the_long_one_write_and_refuse_the_same(hint: Any, value: Any) -> None:
    quick = _encoded(_task_of(hint), value)
    with mock.patch.object(task, "are_plain", return_value=False):
        thorough = _task_of(hint)
    assert repr(quick) == repr(_encoded(thorough, value))


@pytest.mark.parametrize("value", [1, 10**400, 1e300, "é", "\\u0000", [0.1, -0.0], {"a": [1, None]}])
def test_what_is_written_the_short_way_arrives_as_it_was_given(value: Any) -> None:
    task = _task_of(int | float | str | list[float] | dict[str, list[int | None]])
    arrived = task.decode(task.encode({"value": value}), Context.testing)["value"]
    assert repr(arrived) == repr(value)

"""Reading JSON strictly: the quick way and the slow way say the same, and what is read is what Python reads."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steeple.api import strict_json
from steeple.api.strict_json import MAX_DEPTH, NotJson, UnacceptableJson

TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)
PIECES = st.sampled_from(
    [
        *'{}[],:" \n\\',
        '"a"',
        '"b":',
        "1",
        "-0.5",
        "1e5",
        "1e400",
        "NaN",
        "null",
        "true",
        '"\\u0000"',
        '"\\ud800"',
        "\x00",
        "é",
    ]
)


def outcome(text: str) -> object:
    """What ``read_members`` does, comparably."""
    try:
        return strict_json.read_members(text)
    except NotJson as error:
        return NotJson, error.detail, error.pointer
    except UnacceptableJson as error:
        return error.faults


def slowly(text: str) -> object:
    """What it does without its quick way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_quick_members", lambda _: None)
        return outcome(text)


@given(OBJECTS, st.sampled_from([None, 2]), st.booleans())
def test_members_keep_their_texts(value: dict[str, Any], indent: int | None, ensure_ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)
    members = strict_json.read_members(text)
    assert members is not None
    assert {name: json.loads(member) for name, member in members.items()} == value
    assert all(member in text for member in members.values())


@given(st.lists(PIECES, max_size=12).map("".join) | VALUES.map(json.dumps))
def test_the_quick_way_and_the_slow_way_say_the_same(text: str) -> None:
    for each in (text, f'{{"a":{text}}}', f' {{ "a" : {text} , "b":[] }} '):
        assert outcome(each) == slowly(each)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_is_accepted_python_reads_too(text: str) -> None:
    found = outcome(f'{{"a":{text}}}')
    if isinstance(found, dict):
        assert json.loads(f'{{"a":{text}}}') == {name: json.loads(member) for name, member in found.items()}


@given(st.lists(VALUES, max_size=5))
def test_items_keep_their_texts(values: list[Any]) -> None:
    assert [json.loads(text) for text in strict_json.item_texts(json.dumps(values))] == values
    assert [json.loads(text) for text in strict_json.item_texts(json.dumps(values, indent=1))] == values


@pytest.mark.parametrize("text", ["{}", " {\n} "])
def test_an_object_may_be_empty(text: str) -> None:
    assert strict_json.read_members(text) == {}


@pytest.mark.parametrize("text", ["[]", "1", '"{}"', "null"])
def test_what_is_no_object_has_no_members(text: str) -> None:
    assert strict_json.read_members(text) is None


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"a": {"b~c": [0, "\\u0000"]}}', "/a/b~0c/1"),
        ('{"a": 1, "a": 1}', "/a"),
        ('{"a": {"x": 1, "y": 2, "x": 3}}', "/a/x"),
        ('{"a": 1e309}', "/a"),
        (f'{{"a": {"9" * 1001}}}', "/a"),
        (f'{{"a": 0.{"9" * 1001}}}', "/a"),
        ('{"": "\\udfff"}', "/"),
    ],
)
def test_what_is_refused_is_named_by_its_place(text: str, pointer: str) -> None:
    with pytest.raises(UnacceptableJson) as refused:
        strict_json.read_members(text)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


@pytest.mark.parametrize("number", ["9" * 1000, "-0.0", "1e308", "0." + "3" * 900, "1E+2", "1e-5000"])
def test_numbers_that_fit_are_taken(number: str) -> None:
    assert strict_json.read_members(f'{{"a":{number}}}') == {"a": number}


@pytest.mark.parametrize("is_list", [True, False])
def test_depth_is_counted_from_the_object(is_list: bool) -> None:
    opening, closing = ("[", "]") if is_list else ('{"x":', "}")

    def nested(levels: int) -> str:
        return f'{{"a":{opening * levels}1{closing * levels}}}'

    assert strict_json.read_members(nested(MAX_DEPTH - 1)) is not None
    with pytest.raises(UnacceptableJson):
        strict_json.read_members(nested(MAX_DEPTH))
    with pytest.raises(UnacceptableJson):
        strict_json.read_members(nested(200_000))


def test_no_more_faults_are_named_than_anyone_reads() -> None:
    with pytest.raises(UnacceptableJson) as refused:
        strict_json.read_members(f'{{"a": [{",".join(["1e999"] * 500)}]}}')
    assert len(refused.value.faults) == 20

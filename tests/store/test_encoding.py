"""Whatever an exception, a progress text or a log line holds: PostgreSQL takes it, and it reads back."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from playground import Playground
from steeple.domain.job import JobError, Reason
from steeple.store.encoding import MAX_ERROR_CHARS, abridged, dump, encode_error, encode_fields, storable, storable_json

awkward = st.text(st.sampled_from('\x00\\u"d8c0aé\ud83d\ude00\udfff😀'), max_size=12)


@given(awkward)
def test_text_is_changed_where_it_must_and_nowhere_else(text: str) -> None:
    found = storable(text)
    assert [char for char in found if char == "\x00" or "\ud800" <= char <= "\udfff"] == []
    assert [a for a, b in zip(text, found, strict=True) if a != b and b != "\ufffd"] == []


@given(awkward)
def test_json_text_is_changed_like_the_text_in_it(text: str) -> None:
    """A pair of escapes is one character: as JSON, two halves that meet are whole."""
    whole = json.loads(json.dumps(text))
    assert json.loads(storable_json(json.dumps(text))) == storable(whole)


@given(st.recursive(st.none() | st.booleans() | st.integers() | awkward, st.lists))
def test_storable_json_is_left_alone(value: Any) -> None:
    encoded = json.dumps(storable(json.dumps(value, ensure_ascii=False)))
    assert storable_json(encoded) == encoded


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    text = "a" * 50_000 + "z" * 50_000
    found = abridged(text)
    assert found.startswith("aaa")
    assert found.endswith("zzz")
    assert "68000 characters left out" in found
    assert len(found) < MAX_ERROR_CHARS + 100
    assert abridged("short") == "short"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_has_not_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dump(value)


def _nested() -> list[Any]:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


def _circular() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {"a": float("nan"), "b": 1},
        {"a": {1: float("inf")}},
        {"a": object()},
        {"a": {("no", "key"): 1, "b": 2}},
        {"a": "\x00\ud800"},
        {"a": _circular()},
        {"a": _nested()},
    ],
    ids=["nan", "infinity", "object", "tuple key", "text", "circular", "nested"],
)
def test_any_field_of_a_log_line_can_be_stored(playground: Playground, fields: dict[str, Any]) -> None:
    stored = playground.value("SELECT CAST(CAST(:fields AS jsonb) AS text)", fields=encode_fields(fields))
    assert set(json.loads(stored)) == set(fields)


@given(awkward, awkward, awkward)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_error_can_be_stored(playground: Playground, kind: str, message: str, traceback: str) -> None:
    encoded = encode_error(JobError(kind, message, Reason.EXCEPTION, traceback))
    stored = playground.value("SELECT CAST(CAST(:error AS jsonb) AS text)", error=encoded)
    assert json.loads(stored) == {
        "type": storable(kind),
        "message": storable(message),
        "reason": "exception",
        "traceback": storable(traceback),
    }

"""The delay before the next attempt: full jitter below a ceiling that grows to a cap."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steeple.domain.retry import Retry

policies = st.builds(
    Retry,
    max_attempts=st.integers(1, 1000),
    initial=st.floats(0, 1e6),
    factor=st.floats(1, 1e3),
    cap=st.floats(0, 1e9),
)
attempts = st.integers(1, 1000)
uniforms = st.floats(0, 1, exclude_max=True)


@given(policies, attempts, uniforms)
def test_a_delay_lies_between_zero_and_the_ceiling(policy: Retry, attempt: int, uniform: float) -> None:
    assert 0 <= policy.delay(attempt, uniform) <= policy.ceiling(attempt) <= policy.cap


@given(policies, attempts)
def test_the_ceiling_never_falls(policy: Retry, attempt: int) -> None:
    assert policy.ceiling(attempt) <= policy.ceiling(attempt + 1)


@given(policies, attempts, uniforms, uniforms)
def test_the_delay_grows_with_the_random_number(policy: Retry, attempt: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert policy.delay(attempt, low) <= policy.delay(attempt, high)


def test_the_ceiling_doubles_from_one_second_to_ten_minutes() -> None:
    assert [Retry().ceiling(attempt) for attempt in (1, 2, 3, 10, 11, 1000)] == [1, 2, 4, 512, 600, 600]


def test_a_ceiling_past_the_largest_number_is_the_cap() -> None:
    assert Retry(factor=1e300, cap=77.0).ceiling(1000) == 77.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 1001},
        {"max_attempts": True},
        {"max_attempts": 2.0},
        {"initial": -1.0},
        {"initial": float("nan")},
        {"factor": 0.5},
        {"factor": float("inf")},
        {"cap": -0.1},
        {"cap": "1"},
    ],
)
def test_a_number_out_of_range_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Retry(**wrong)

"""How many jobs a slot claims at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steeple.domain.pacing import QUICK_BATCH_SECONDS, next_claim_size

sizes = st.integers(1, 128)
durations = st.floats(0, 1e5)


@given(sizes, durations, sizes)
def test_a_claim_is_never_empty_nor_over_the_largest(size: int, took: float, largest: int) -> None:
    assert 1 <= next_claim_size(min(size, largest), took, largest) <= largest


@given(sizes, st.floats(QUICK_BATCH_SECONDS, 1e5))
def test_a_slow_batch_shrinks_the_next_by_half_at_least(size: int, took: float) -> None:
    assert next_claim_size(size, took, 128) <= max(1, size // 2)


@pytest.mark.parametrize(("size", "took", "expected"), [(1, 0.01, 2), (64, 0.04, 128), (128, 0.04, 128), (128, 1.0, 6)])
def test_quick_batches_double_and_slow_ones_shrink_to_what_fits(size: int, took: float, expected: int) -> None:
    assert next_claim_size(size, took, 128) == expected

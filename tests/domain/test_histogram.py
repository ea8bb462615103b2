"""Durations in buckets."""

from hypothesis import given
from hypothesis import strategies as st

from steeple.domain.histogram import BOUNDS, BUCKETS, Histogram, in_bucket

histograms = st.builds(
    Histogram,
    st.lists(st.integers(0, 1000), min_size=BUCKETS, max_size=BUCKETS).map(tuple),
    st.integers(0, 10_000).map(float),
)


def test_bounds_ascend() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))


@given(histograms, histograms)
def test_sums_keep_every_duration(one: Histogram, other: Histogram) -> None:
    both = one + other
    assert both.total == one.total + other.total
    assert both.seconds == one.seconds + other.seconds
    assert both == other + one


@given(histograms)
def test_running_totals_ascend_to_the_total(histogram: Histogram) -> None:
    totals = histogram.running_totals()
    assert list(totals) == sorted(totals)
    assert totals[-1] == histogram.total


@given(st.integers(0, BUCKETS - 1), st.integers(0, 100))
def test_durations_of_one_bucket_are_in_it(bucket: int, count: int) -> None:
    found = in_bucket(bucket, count, 1.5)
    assert (found.counts[bucket], found.total, found.seconds) == (count, count, 1.5)


def test_no_bucket_is_no_duration() -> None:
    assert in_bucket(None, 5, 0.0) == Histogram()

"""The arithmetic of the tables."""

import math

import pytest
from bench.figures import (
    Spread,
    Times,
    idle_beside_work,
    longest_overtaken,
    mark_after,
    most_at_once,
    percentile,
    rate_after,
    ratio_to,
    share_in_tasks,
)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.01, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0


def test_the_rate_leaves_the_warm_up_out_and_lasts_until_all_is_settled() -> None:
    jobs = [Times(second, second + 1.0) for second in range(10)]
    mark = mark_after(jobs, 0.1)
    assert mark == 1.0
    assert rate_after(jobs, mark, settled=10.0) == 1.0
    assert rate_after(jobs, mark, settled=19.0) == 0.5


def test_the_share_in_tasks_counts_idle_slots_but_not_the_end_when_nothing_is_left_to_begin() -> None:
    busy = [Times(start, start + 1.0) for start in (0.0, 1.0, 2.0, 3.0)]
    assert share_in_tasks(busy, mark=1.0, slots=1) == 1.0
    assert share_in_tasks(busy, mark=1.0, slots=2) == 0.5
    assert share_in_tasks([*busy, Times(3.0, 100.0)], mark=1.0, slots=1) == 1.0


def test_the_share_in_tasks_of_a_run_that_was_over_before_the_mark_is_no_number() -> None:
    assert math.isnan(share_in_tasks([Times(0.0, 1.0)], mark=1.0, slots=1))


def test_jobs_that_touch_are_not_under_way_together() -> None:
    assert most_at_once([Times(0.0, 1.0), Times(1.0, 2.0)]) == 1
    assert most_at_once([Times(0.0, 1.0), Times(0.5, 2.0), Times(0.9, 1.0)]) == 3


def test_a_short_job_behind_a_long_one_is_overtaken_by_what_the_other_slot_begins() -> None:
    long, stuck = Times(0.0, 1.0), Times(1.0, 1.1)
    others = [Times(0.1, 0.2), Times(0.2, 0.3)]
    is_short = [False, True, True, True]
    assert longest_overtaken([long, stuck, *others], is_short) == pytest.approx(0.9)
    assert longest_overtaken([long, Times(0.1, 0.2), Times(0.2, 0.3), Times(0.3, 0.4)], is_short) == 0.0


def test_a_long_job_may_be_overtaken() -> None:
    assert longest_overtaken([Times(5.0, 6.0), Times(0.0, 1.0)], [False, True]) == 0.0


def test_a_slot_is_idle_beside_work_while_a_job_has_not_begun() -> None:
    assert idle_beside_work([Times(0.0, 1.0), Times(1.0, 2.0)], mark=0.0, slots=2) == 1.0
    assert idle_beside_work([Times(0.0, 1.0), Times(0.0, 2.0), Times(1.5, 2.0)], mark=0.0, slots=2) == 0.5
    assert idle_beside_work([Times(0.0, 1.0), Times(0.0, 2.0), Times(1.5, 2.0)], mark=1.2, slots=2) == pytest.approx(
        0.3
    )


def test_a_ratio_is_the_median_over_the_rounds_and_says_how_much_better_the_first_is() -> None:
    assert ratio_to([10.0, 20.0, 90.0], [1.0, 10.0, 10.0], "higher") == 9.0
    assert ratio_to([2.0], [8.0], "lower") == 4.0
    assert ratio_to([], [8.0], "lower") is None
    assert ratio_to([3.0], [0.0], "higher") is None


def test_a_spread_is_of_all_rounds() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)

"""``Context.testing``: a task is called as a plain function, and what it said can be looked at."""

import math
from datetime import UTC, datetime
from uuid import UUID

import pytest

from steeple import Context, Parent, Reports, State


def test_what_a_task_says_is_kept() -> None:
    reports = Reports()
    context = Context.testing(reports=reports)

    context.progress(0)
    context.progress(0.5, "half")
    context.log("read", rows=3)

    assert reports.said == [(0.0, None), (0.5, "half")]
    assert reports.lines == [("read", {"rows": 3})]


def test_a_context_without_reports_swallows_what_is_said() -> None:
    context = Context.testing()
    context.progress(1.0)
    context.log("x")


def test_parents_can_be_given() -> None:
    given = {UUID(int=1): Parent(State.SUCCESS, 12)}
    assert Context.testing(reports=Reports(given=given)).parents == given
    assert Context.testing().parents == {}


def test_its_facts_can_be_chosen() -> None:
    context = Context.testing(job_id=UUID(int=5), attempt=3, fence=9)

    assert (context.job_id, context.attempt, context.fence) == (UUID(int=5), 3, 9)
    assert context.deadline > datetime.now(UTC)
    assert not context.cancelled


@pytest.mark.parametrize("fraction", [-0.01, 1.01, math.nan, math.inf])
def test_progress_is_a_number_from_0_to_1(fraction: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Context.testing().progress(fraction)


def test_a_long_text_of_progress_is_cut() -> None:
    reports = Reports()
    Context.testing(reports=reports).progress(0.1, "x" * 5000)
    assert reports.said == [(0.1, "x" * 1000)]

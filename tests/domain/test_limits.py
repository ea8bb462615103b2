"""Limits by key as arithmetic."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steeple.domain.limits import Limit, Limits, Rate, Use, admit


@dataclass(frozen=True)
class Job:
    id: UUID
    limits: tuple[str, ...] = ()


def _jobs(*limits: tuple[str, ...]) -> list[Job]:
    return [Job(UUID(int=number), keys) for number, keys in enumerate(limits)]


@given(
    st.lists(st.lists(st.sampled_from("abcd"), unique=True, max_size=3).map(tuple), max_size=40),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5)),
    st.integers(0, 40),
)
def test_no_limit_is_ever_exceeded_and_none_waits_for_nothing(
    keys: list[tuple[str, ...]], most: dict[str, int], room: int
) -> None:
    uses = {key: Use(Limit(key, max_running=count)) for key, count in most.items()}
    jobs = _jobs(*keys)
    found = admit(jobs, uses, room)
    assert all(use.running <= most[key] for key, use in uses.items())
    assert len(found.taken) <= room
    for job in jobs:
        if job.id in found.parked:
            key = found.parked[job.id].removeprefix("limit:")
            assert key in job.limits
            assert uses[key].running == most[key]
        elif job.id not in found.taken:
            assert len(found.taken) == room


def test_a_job_that_one_limit_holds_back_takes_nothing_of_its_others() -> None:
    uses = {"full": Use(Limit("full", max_running=0)), "free": Use(Limit("free", max_running=1))}
    found = admit(_jobs(("free", "full"), ("free",)), uses, 2)
    assert found.taken == [UUID(int=1)]
    assert found.parked == {UUID(int=0): "limit:full"}


def test_the_limit_of_a_key_is_its_own_or_that_of_the_pattern_with_the_most_letters() -> None:
    limits = Limits([Limit("*"), Limit("customer:*"), Limit("customer:4*"), Limit("customer:42")])
    keys = ["customer:42", "customer:43", "customer:5", "other"]
    found = [limits.of(key) for key in keys]
    assert [limit and limit.key for limit in found] == ["customer:42", "customer:4*", "customer:*", "*"]
    assert Limits([Limit("a.c")]).of("abc") is None


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_bucket_never_holds_more_than_its_burst(left: float, seconds: float) -> None:
    rate = Rate(10, 60.0, burst=3)
    assert 0 <= rate.tokens(left, seconds) <= 3


def test_it_is_told_when_the_next_token_comes() -> None:
    rate = Rate(2, 10.0)
    assert rate.seconds_until(1.0, 0.5) == pytest.approx(2.5)
    assert rate.tokens(0.5, 2.5) == pytest.approx(1.0)
    assert rate.seconds_until(1.0, 1.5) == 0.0

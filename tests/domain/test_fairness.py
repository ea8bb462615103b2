"""Who goes next where several share a lane, against what is promised."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steeple.domain.fairness import Sharer, after, take_turns


class Lane:
    """A lane whose keys have so many jobs; one job is started at a time."""

    def __init__(self, waiting: dict[str, int], weights: dict[str, float] | None = None) -> None:
        self.waiting = Counter(waiting)
        self.weights = weights or {}
        self.virtual: dict[str, float] = {}
        self.clock = 0.0

    def start(self, most: int) -> list[str]:
        sharers = [
            Sharer(key, self.weights.get(key, 1.0), self.virtual.get(key))
            for key, count in self.waiting.items()
            if count
        ]
        left = Counter(self.waiting)
        started = []
        for key in take_turns(sharers, self.clock, most):
            if left[key]:
                left[key] -= 1
                started.append(key)
        standing = after(sharers, self.clock, started)
        self.clock = standing.clock
        self.virtual |= standing.virtual
        self.waiting -= Counter(started)
        return started


_KEYS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 1000), min_size=1)


@given(_KEYS, st.integers(0, 200), st.integers(1, 40))
def test_a_single_job_waits_for_one_of_each_other_key_at_most(waiting: dict[str, int], before: int, batch: int) -> None:
    lane = Lane(waiting)
    for _ in range(before):
        lane.start(batch)
    others = sum(1 for count in lane.waiting.values() if count)
    lane.waiting["new"] = 1
    started: list[str] = []
    while "new" not in started:
        started += lane.start(1)
    assert len(started) <= others + 1


@given(st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=2))
def test_keys_that_always_wait_share_by_weight(weights: dict[str, float]) -> None:
    lane = Lane(dict.fromkeys(weights, 10**6), weights)
    started = Counter(key for _ in range(100) for key in lane.start(10))
    total = sum(weights.values())
    for key, weight in weights.items():
        assert started[key] == pytest.approx(1000 * weight / total, abs=1 + weight)


@given(_KEYS, st.integers(1, 64))
def test_nothing_is_left_waiting_beside_a_free_turn(waiting: dict[str, int], batch: int) -> None:
    lane = Lane(waiting)
    for _ in range(sum(waiting.values())):
        if not lane.start(batch):
            break
    assert not +lane.waiting


def test_a_key_is_owed_nothing_for_the_time_in_which_it_had_no_job() -> None:
    lane = Lane({"a": 1000})
    lane.start(500)
    lane.waiting["late"] = 1000
    assert Counter(lane.start(100)) == {"a": 50, "late": 50}

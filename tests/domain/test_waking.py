"""Priorities, lanes and bindings; and which wake-ups are worth sending."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steeple.domain.priority import Binding, Lane, Priority, is_queue_name
from steeple.domain.waking import Crew, Wakes, plan_wakes

HIGH, DEFAULT, LOW = Priority

queues = st.sampled_from(["a", "b", "c"])
lanes = st.builds(Lane, queues, st.sampled_from(Priority))
bindings = st.builds(
    Binding,
    st.none() | st.lists(queues, min_size=1, unique=True).map(tuple),
    st.lists(st.sampled_from(Priority), min_size=1, unique=True).map(tuple),
)
fleets = st.lists(st.builds(Crew, bindings, st.integers(1, 8)), max_size=4)
dues = st.dictionaries(lanes, st.integers(1, 50))


def test_ranks_put_high_first_and_lead_back() -> None:
    assert sorted(Priority, key=lambda priority: priority.rank) == [HIGH, DEFAULT, LOW]
    assert [Priority.from_rank(priority.rank) for priority in Priority] == list(Priority)


@pytest.mark.parametrize("name", ["a", "A.b_c-d:e", "0", "x" * 100])
def test_these_are_queue_names(name: str) -> None:
    assert is_queue_name(name)


@pytest.mark.parametrize("name", ["", ".a", "a b", "a/b", "ü", "x" * 101, "a\n"])
def test_these_are_no_queue_names(name: str) -> None:
    assert not is_queue_name(name)


@given(bindings, lanes)
def test_a_worker_waits_where_the_wake_ups_for_its_lanes_go(binding: Binding, lane: Lane) -> None:
    if binding.covers(lane):
        assert binding.lane_for(lane) in binding.lanes()


def test_a_worker_of_every_queue_waits_in_one_lane_per_priority() -> None:
    assert Binding(None, (HIGH, LOW)).lanes() == (Lane(None, HIGH), Lane(None, LOW))
    assert Binding(None, (HIGH,)).covers(Lane("never heard of", HIGH))
    assert not Binding(None, (HIGH,)).covers(Lane("a", LOW))


@given(dues, fleets)
def test_no_wake_up_goes_where_nobody_waits(due: dict[Lane, int], fleet: list[Crew]) -> None:
    waiting = {lane for crew in fleet for lane in crew.binding.lanes()}
    assert set(plan_wakes(due, fleet)) <= waiting


@given(dues, fleets)
def test_every_worker_that_could_run_a_due_job_is_reached(due: dict[Lane, int], fleet: list[Crew]) -> None:
    planned = plan_wakes(due, fleet)
    for lane, jobs in due.items():
        for crew in fleet:
            if crew.binding.covers(lane):
                wakes = planned[crew.binding.lane_for(lane)]
                assert wakes.jobs >= jobs
                assert wakes.slots >= crew.slots


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 200))
def test_a_lane_never_holds_more_wake_ups_than_slots(jobs: int, slots: int, waiting: int) -> None:
    missing = Wakes(jobs, slots).missing(waiting)
    assert 0 <= missing <= jobs
    assert waiting + missing <= max(slots, waiting)


def test_the_jobs_of_all_queues_add_up_in_the_lane_of_workers_that_serve_all() -> None:
    due = {Lane("a", HIGH): 2, Lane("b", HIGH): 3, Lane("a", LOW): 9}
    fleet = [Crew(Binding(), 4), Crew(Binding(priorities=(HIGH,)), 1), Crew(Binding(queues=("b",)), 2)]
    assert plan_wakes(due, fleet) == {
        Lane(None, HIGH): Wakes(5, 5),
        Lane(None, LOW): Wakes(9, 4),
        Lane("b", HIGH): Wakes(3, 2),
    }


def test_without_workers_nothing_is_sent() -> None:
    assert plan_wakes({Lane("a", HIGH): 2}, []) == {}

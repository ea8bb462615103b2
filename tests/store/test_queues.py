"""Counts, waits and throughput per queue; the finished are right before, while and after they are rolled up."""

import pytest

from playground import Playground, at
from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.domain.states import State
from steeple.domain.statistics import QueueStatistics
from steeple.store import queue_settings, retention, tasks, transitions
from steeple.store.queues import queue_statistics
from steeple.store.rollup import roll_up


def read(playground: Playground, seconds: float = 0.0) -> dict[str, QueueStatistics]:
    with playground.engine.begin() as connection:
        return {each.name: each for each in queue_statistics(connection, now=at(seconds))}


def roll(playground: Playground, seconds: float) -> None:
    with playground.engine.begin() as connection:
        roll_up(connection, now=at(seconds))


def counts(**numbers: int) -> dict[State, int]:
    return {state: numbers.get(state.value.lower(), 0) for state in State}


def test_an_empty_database_has_no_queues(playground: Playground) -> None:
    assert read(playground) == {}


def test_a_queue_of_a_task_is_there_before_its_first_job(playground: Playground) -> None:
    record = tasks.TaskRecord("t", "", {}, "reports", Priority.DEFAULT, 1.0, Retry(), is_async=False)
    with playground.engine.begin() as connection:
        tasks.register(connection, [record])
    assert read(playground) == {"reports": QueueStatistics("reports", counts(), None, 0.0)}


def test_a_queue_for_which_something_was_set_is_there_and_says_whether_it_is_paused(playground: Playground) -> None:
    with playground.engine.begin() as connection:
        queue_settings.pause(connection, "held", by="me")
    playground.add(queue="free")
    assert read(playground)["held"] == QueueStatistics("held", counts(), None, 0.0, paused=True)
    assert not read(playground)["free"].paused


def test_jobs_are_counted_per_state(playground: Playground) -> None:
    playground.running(queue="a")
    playground.add_many(2, queue="a")
    playground.add_many(3, queue="a", run_at=at(50), priority=Priority.LOW)
    for state in (State.SUCCESS, State.SUCCESS, State.FAILED, State.CANCELLED):
        playground.ended(state, queue="b")
    found = read(playground)
    assert found["a"].counts == counts(pending=5, running=1)
    assert found["b"].counts == counts(success=2, failed=1, cancelled=1)
    assert list(found) == ["a", "b"]


def test_finished_jobs_count_the_same_before_and_after_they_are_rolled_up(playground: Playground) -> None:
    for seconds in (0, 30, 60):
        playground.ended(State.SUCCESS, now=at(seconds))
    seen = []
    for rolled in (None, 40, 63.5, 100):
        if rolled is not None:
            roll(playground, rolled)
        seen.append(read(playground, 100)["default"].counts)
    assert seen == [counts(success=3)] * 4


def test_a_pruned_job_no_longer_counts(playground: Playground) -> None:
    playground.ended(State.SUCCESS)
    roll(playground, 100)
    with playground.engine.begin() as connection:
        retention.prune(connection, 10.0, limit=10, now=at(200))
        retention.forget_minutes(connection, 10.0, now=at(200))
    assert read(playground) == {}


@pytest.mark.parametrize("is_rolled", [False, True])
def test_a_job_that_starts_anew_counts_once(playground: Playground, is_rolled: bool) -> None:
    job = playground.ended(State.FAILED)
    if is_rolled:
        roll(playground, 60)
    with playground.engine.begin() as connection:
        transitions.retry(connection, job.id, now=at(60))
    assert read(playground)["default"].counts == counts(pending=1)


def test_the_oldest_wait_is_that_of_the_job_due_longest(playground: Playground) -> None:
    playground.add(run_at=at(-30), priority=Priority.LOW)
    playground.add(run_at=at(-10), priority=Priority.HIGH)
    playground.add(run_at=at(99), queue="later")
    playground.running(queue="running", run_at=at(-99), priority=Priority.HIGH)
    waits = {name: each.oldest_wait for name, each in read(playground).items()}
    assert waits == {"default": 30.0, "later": None, "running": None}


@pytest.mark.parametrize("rolled", [None, 20, 66, 200])
def test_throughput_is_that_of_the_last_minute(playground: Playground, rolled: float | None) -> None:
    for seconds in (10, 60, 61, 62):
        playground.ended(State.SUCCESS, now=at(seconds))
    if rolled is not None:
        roll(playground, rolled)
    assert read(playground, 119.9)["default"].throughput == pytest.approx(3 / 60, rel=0.01)


def test_a_minute_counts_by_its_share_of_the_last_sixty_seconds(playground: Playground) -> None:
    for seconds in range(60):
        playground.ended(State.SUCCESS, now=at(seconds))
    roll(playground, 90)
    assert read(playground, 90)["default"].throughput == pytest.approx(0.5)
    assert read(playground, 120)["default"].throughput == 0.0

"""What the metrics are made of: read from counts, and complete."""

import pytest

from playground import Playground, at
from steeple.domain.states import State
from steeple.domain.statistics import CounterName, JobCount, MetricsSnapshot
from steeple.store import counters, metrics, retention, transitions
from steeple.store.metrics import read_metrics
from steeple.store.rollup import roll_up


def read(playground: Playground) -> MetricsSnapshot:
    with playground.engine.begin() as connection:
        return read_metrics(connection, 20.0)


def test_jobs_are_counted_per_queue_task_and_state(playground: Playground) -> None:
    playground.ended(State.FAILED, task="u")
    playground.running()
    playground.add_many(2, queue="q")
    assert set(read(playground).tasks) == {
        JobCount("default", "u", State.FAILED, 1),
        JobCount("default", "t", State.RUNNING, 1),
        JobCount("q", "t", State.PENDING, 2),
    }


def test_a_backlog_too_long_to_be_read_is_not_counted_per_task(
    playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    playground.running()
    playground.add_many(3)
    monkeypatch.setattr(metrics, "_MOST_PENDING", 2)
    found = read(playground)
    assert found.tasks == (JobCount("default", "t", State.RUNNING, 1),)
    assert found.queues[0].counts[State.PENDING] == 3


def test_only_living_workers_count(playground: Playground) -> None:
    playground.worker(slots=3)
    playground.worker(slots=4)
    playground.worker("silent", slots=5)
    playground.sql("UPDATE workers SET heartbeat_at = now() - interval '21 s' WHERE name = 'silent'")
    found = read(playground)
    assert (found.workers, found.slots) == (2, 7)


def test_totals_survive_pruning_and_explicit_retries(playground: Playground) -> None:
    jobs = [playground.ended(State.SUCCESS) for _ in range(3)]
    with playground.engine.begin() as connection:
        roll_up(connection, now=at(60))
        transitions.retry(connection, jobs[0].id, now=at(60))
        retention.prune(connection, 10.0, limit=10, now=at(200))
        retention.forget_minutes(connection, 10.0, now=at(200))
    (total,) = read(playground).finished
    assert (total.jobs, total.run.total, total.wait.total) == (3, 3, 3)
    assert read(playground).tasks == (JobCount("default", "t", State.PENDING, 1),)


def test_counters_add_up(playground: Playground) -> None:
    for _ in range(2):
        with playground.engine.begin() as connection:
            counters.add(connection, {CounterName.CRASHES: 2, CounterName.EXPIRED: 0, CounterName.RESCUES: 1})
    found = read(playground).counters
    assert found == dict.fromkeys(CounterName, 0) | {CounterName.CRASHES: 4, CounterName.RESCUES: 2}
    assert playground.value("SELECT count(*) FROM counters") == 2


@pytest.mark.parametrize("counts", [{}, {CounterName.CRASHES: 0}])
def test_nothing_is_written_for_nothing(playground: Playground, counts: dict[CounterName, int]) -> None:
    with playground.engine.begin() as connection:
        counters.add(connection, counts)
    assert playground.value("SELECT count(*) FROM counters") == 0

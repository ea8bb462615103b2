"""What a scheduler does besides: expire, count, prune, forget."""

from collections.abc import Callable

import pytest

from playground import Playground
from steeple import Settings
from steeple.domain.states import State
from steeple.domain.statistics import CounterName
from steeple.embedded.processes import wait_until
from steeple.scheduler.expire import expire
from steeple.scheduler.prune import Prune
from steeple.scheduler.rollup import roll_up
from steeple.store import counters

PATIENCE = 30.0


def total(playground: Playground, name: CounterName) -> int:
    with playground.engine.begin() as connection:
        return counters.totals(connection)[name]


def finish_all(playground: Playground, ago: float) -> None:
    playground.sql(
        "UPDATE jobs SET state = 'SUCCESS', finished_at = now() - :ago * interval '1 s' WHERE finished_at IS NULL",
        ago=ago,
    )


def test_late_jobs_fail_and_are_counted(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steeple.scheduler.expire._MOST_AT_ONCE", 2)
    jobs = playground.add_many(3, now=None)
    playground.sql("UPDATE jobs SET expires_at = now() - interval '1 s'")
    assert [expire(playground.engine) == 0.0 for _ in range(2)] == [True, False]
    assert {playground.read(job_id).state for job_id in jobs} == {State.FAILED}
    assert total(playground, CounterName.EXPIRED) == 3


def test_finished_jobs_are_counted_slice_by_slice(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steeple.store.rollup.roll_up.__kwdefaults__", {"slice_size": 2, "now": None})
    for ago in (30, 20, 10, 5):
        playground.add(now=None)
        finish_all(playground, ago)
    assert [roll_up(playground.engine, playground.engine) == 0.0 for _ in range(2)] == [True, False]
    assert playground.value("SELECT sum(jobs) FROM finished_totals") == 4


def test_nothing_finished_costs_one_look(playground: Playground) -> None:
    playground.running(now=None)
    before = playground.value("SELECT at FROM watermarks")
    assert roll_up(playground.engine, playground.engine) > 0
    assert playground.value("SELECT at FROM watermarks") == before


def test_old_jobs_are_pruned_batch_by_batch(
    playground: Playground, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steeple.scheduler.prune._BATCH", 2)
    playground.add_many(3, now=None)
    finish_all(playground, 100)
    roll_up(playground.engine, playground.engine)
    prune = Prune(playground.engine, playground.engine, settings.model_copy(update={"retention": 50.0}))
    assert prune() < 1
    assert prune() >= 1
    assert playground.value("SELECT count(*) FROM jobs") == 0
    assert total(playground, CounterName.PRUNED) == 3


def test_old_counts_are_folded_into_hours(playground: Playground, settings: Settings) -> None:
    playground.add_many(3, now=None)
    playground.sql(
        "UPDATE jobs SET state = 'SUCCESS', finished_at = date_trunc('hour', now()) - interval '8 h' "
        "+ (SELECT count(*) FROM jobs AS earlier WHERE earlier.id < jobs.id) * interval '1 min'"
    )
    roll_up(playground.engine, playground.engine)
    assert playground.value("SELECT count(*) FROM finished_minutes") == 3
    Prune(playground.engine, playground.engine, settings)()
    assert [row.jobs for row in playground.sql("SELECT jobs FROM finished_minutes")] == [3]


def test_rows_of_workers_outlive_the_jobs_that_name_them(playground: Playground, settings: Settings) -> None:
    for name, hours in (("recent", 20), ("old", 30)):
        playground.worker(name)
        playground.sql("UPDATE workers SET ended_at = now() - :h * interval '1 h' WHERE name = :n", h=hours, n=name)
    Prune(playground.engine, playground.engine, settings.model_copy(update={"retention": 60.0}))()
    assert [row.name for row in playground.sql("SELECT name FROM workers")] == ["recent"]


def test_a_running_scheduler_does_all_of_it(playground: Playground, start_scheduler: Callable[..., None]) -> None:
    playground.add(now=None)
    finish_all(playground, 100)
    late = playground.add(now=None)
    playground.sql("UPDATE jobs SET expires_at = now() - interval '1 s' WHERE id = :id", id=late)
    start_scheduler(retention=50.0)
    assert wait_until(lambda: total(playground, CounterName.PRUNED) == 1, PATIENCE)
    assert wait_until(lambda: playground.read(late).state == State.FAILED, PATIENCE)


def test_two_schedulers_count_every_job_once(playground: Playground, start_scheduler: Callable[..., None]) -> None:
    for ago in range(4, 100):
        playground.add(now=None)
        finish_all(playground, ago)
    for _ in range(2):
        start_scheduler()
    assert wait_until(lambda: playground.value("SELECT COALESCE(sum(jobs), 0) FROM finished_totals") == 96, PATIENCE)
    assert playground.value("SELECT sum(jobs) FROM finished_minutes") == 96


def test_an_idle_scheduler_costs_few_statements(playground: Playground, start_scheduler: Callable[..., None]) -> None:
    """Each statement is a transaction of its own; the server tells their number with a delay of a second."""

    def transactions() -> int:
        return int(
            playground.value(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
            )
        )

    playground.worker()
    start_scheduler(heartbeat_interval=5.0, worker_dead_after=20.0)

    def in_three_seconds() -> int:
        before = transactions()
        playground.sql("SELECT pg_sleep(3)")
        return transactions() - before

    # On a busy machine, what the start cost may be told in the first of them.
    assert any(in_three_seconds() <= 3 * 10 for _ in range(3))

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
from steeple.store import counters, retention
from steeple.store.retention import Rule
from steeple.submission import new_id

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


def left(playground: Playground) -> dict[str, tuple[int, int]]:
    """Per queue the jobs that are there, and those that are counted in minutes."""
    jobs = playground.sql("SELECT queue, count(*) AS jobs FROM jobs GROUP BY queue")
    counted = playground.sql("SELECT queue, CAST(sum(jobs) AS integer) AS jobs FROM finished_minutes GROUP BY queue")
    numbers = [{row.queue: row.jobs for row in rows} for rows in (jobs, counted)]
    return {queue: (numbers[0].get(queue, 0), numbers[1].get(queue, 0)) for queue in "abc"}


def test_queues_keep_their_jobs_for_a_time_of_their_own(
    playground: Playground, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is counted of them goes with them: no sooner, no later."""
    monkeypatch.setattr("steeple.scheduler.prune._BATCH", 3)
    for ago in (4000, 2000, 300):
        for queue in "abc":
            playground.add_many(2, queue=queue, now=None)
        finish_all(playground, ago)
    roll_up(playground.engine, playground.engine)
    playground.sql("INSERT INTO queues (name, retention) VALUES ('a', 100000), ('b', 100)")
    prune = Prune(playground.engine, playground.engine, settings.model_copy(update={"retention": 1000.0}))
    while prune() < 1:
        pass
    assert left(playground) == {"a": (6, 6), "b": (0, 0), "c": (2, 2)}
    assert prune() >= 1  # nothing more
    playground.sql("UPDATE queues SET retention = 3000 WHERE name = 'a'")
    while prune() < 1:
        pass
    assert left(playground) == {"a": (4, 4), "b": (0, 0), "c": (2, 2)}
    playground.sql("UPDATE queues SET retention = NULL")
    while prune() < 1:
        pass
    assert left(playground) == {"a": (2, 2), "b": (0, 0), "c": (2, 2)}


def test_jobs_that_are_kept_longer_are_not_gone_through_again_and_again(
    playground: Playground, settings: Settings
) -> None:
    """By what PostgreSQL reads: the tick goes on from where it had come to."""
    playground.add_many(500, queue="a", now=None)
    finish_all(playground, 4000)
    roll_up(playground.engine, playground.engine)
    playground.sql("INSERT INTO queues (name, retention) VALUES ('a', 100000)")
    prune = Prune(playground.engine, playground.engine, settings.model_copy(update={"retention": 1000.0}))
    prune()
    assert prune._done.keys() == {
        Rule(1000.0, others=("a",)),
        Rule(100000.0, "a"),
    }
    (since,) = {prune._done[rule] for rule in prune._done if rule.queue is None}
    with playground.engine.begin() as connection:
        assert retention.cutoff(connection, 1000.0) >= since
        (oldest,) = connection.exec_driver_sql("SELECT max(finished_at) FROM jobs").one()
    assert oldest < since


def test_keys_of_requests_that_made_no_job_are_kept_as_long_as_finished_jobs(
    playground: Playground, settings: Settings
) -> None:
    for key, ago in (("recent", 40), ("old", 60)):
        playground.sql(
            "INSERT INTO joined_requests (owner, key, request_hash, job_id, way, at) "
            "VALUES ('o', :key, 'h', :job_id, 'existing', now() - :ago * interval '1 s')",
            key=key,
            job_id=new_id(),
            ago=ago,
        )
    Prune(playground.engine, playground.engine, settings.model_copy(update={"retention": 50.0}))()
    assert {row.key for row in playground.sql("SELECT key FROM joined_requests")} == {"recent"}


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

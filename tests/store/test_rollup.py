"""Finished jobs are counted once each, whatever commits late, however many count, however far behind they are."""

import threading
from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import text

from playground import NOW, Playground, at, end
from steeple.domain.histogram import BOUNDS, BUCKETS
from steeple.domain.states import State
from steeple.store import rollup, transitions
from steeple.store.rollup import FOLD_AFTER, LAG, RolledUp, roll_up


def roll(playground: Playground, seconds: float = 60.0, *, slice_size: int = 1000) -> RolledUp:
    with playground.engine.begin() as connection:
        return roll_up(connection, slice_size=slice_size, now=at(seconds))


def counted(playground: Playground) -> int:
    return int(playground.value("SELECT COALESCE(sum(jobs), 0) FROM finished_totals"))


def test_finished_jobs_are_counted_per_minute_queue_task_and_state(playground: Playground) -> None:
    for seconds, state in ((0, State.SUCCESS), (1, State.SUCCESS), (2, State.FAILED), (61, State.SUCCESS)):
        playground.ended(state, now=at(seconds), queue="q", task="t")
    playground.ended(State.CANCELLED, queue="other")
    playground.add()
    assert roll(playground, 100) == RolledUp(5, is_behind=False)
    rows = playground.sql("SELECT minute, queue, task, state, jobs FROM finished_minutes ORDER BY minute, queue, state")
    assert [tuple(row) for row in rows] == [
        (NOW, "other", "t", "CANCELLED", 1),
        (NOW, "q", "t", "SUCCESS", 2),
        (NOW, "q", "t", "FAILED", 1),
        (at(60), "q", "t", "SUCCESS", 1),
    ]
    totals = playground.sql("SELECT queue, state, jobs FROM finished_totals ORDER BY queue, state")
    assert [tuple(row) for row in totals] == [("other", "CANCELLED", 1), ("q", "SUCCESS", 3), ("q", "FAILED", 1)]


def test_runs_and_waits_are_put_into_buckets(playground: Playground) -> None:
    claimant = playground.worker()
    for run in (0.001, 2.0, 5000.0):
        job = playground.running(claimant, now=NOW, run_at=at(-7))
        playground.finish(claimant, end(job, State.SUCCESS, began_ago=run), now=at(run))
    roll(playground, 6000)
    row = playground.sql("SELECT * FROM finished_totals")[0]
    in_run = [BOUNDS.index(0.005), BOUNDS.index(2.5), len(BOUNDS)]
    assert row.run_buckets == [1 if place in in_run else 0 for place in range(BUCKETS)]
    assert row.wait_buckets == [3 if place == BOUNDS.index(10.0) else 0 for place in range(BUCKETS)]
    assert row.run_seconds == pytest.approx(5002.001)
    assert row.wait_seconds == pytest.approx(21.0)


def test_a_job_that_never_started_has_neither_run_nor_wait(playground: Playground) -> None:
    claimant = playground.worker()
    waiting = playground.running(claimant)
    playground.finish(claimant, end(waiting, State.PENDING, retry_in=30.0))
    job_id = playground.add()
    with playground.engine.begin() as connection:
        for each in (job_id, waiting.id):
            transitions.cancel(connection, each, now=at(10))
    assert roll(playground).jobs == 2
    row = playground.sql("SELECT * FROM finished_totals")[0]
    assert (row.jobs, sum(row.run_buckets), sum(row.wait_buckets), row.run_seconds) == (2, 0, 0, 0.0)


def test_counting_again_adds_what_is_new(playground: Playground) -> None:
    playground.ended(State.SUCCESS)
    assert [roll(playground).jobs, roll(playground).jobs] == [1, 0]
    playground.ended(State.SUCCESS, now=at(59))
    assert roll(playground, 100).jobs == 1
    row = playground.sql("SELECT * FROM finished_totals")[0]
    assert (row.jobs, sum(row.run_buckets), sum(row.wait_buckets)) == (2, 2, 2)
    assert playground.value("SELECT jobs FROM finished_minutes") == 2


def test_the_newest_finishes_are_left_for_later(playground: Playground) -> None:
    playground.ended(State.SUCCESS)
    assert roll(playground, LAG - 0.1).jobs == 0
    assert roll(playground, LAG + 0.1).jobs == 1


def test_a_database_that_was_long_down_is_counted_in_slices(playground: Playground) -> None:
    claimant = playground.worker()
    for seconds in range(10):
        playground.running(claimant, now=at(seconds))
    playground.sql(
        "UPDATE jobs SET state = 'SUCCESS', finished_at = run_at + (row.number - 1) * interval '1 d' "
        "FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM jobs) AS row WHERE jobs.id = row.id"
    )
    done = [roll(playground, 86400 * 30, slice_size=3) for _ in range(4)]
    assert [each.is_behind for each in done] == [True, True, False, False]
    assert (sum(each.jobs for each in done), counted(playground)) == (10, 10)


def test_jobs_that_finished_at_the_same_time_are_in_one_slice(playground: Playground) -> None:
    jobs = playground.add_many(10)
    with playground.engine.begin() as connection:
        for job_id in jobs:
            transitions.cancel(connection, job_id, now=NOW)
    assert roll(playground, slice_size=3) == RolledUp(10, is_behind=True)
    assert roll(playground, slice_size=3) == RolledUp(0, is_behind=False)


def _horizon(playground: Playground, patience: float) -> datetime:
    """Up to when a roll-up without any lag would count."""
    limits = {"lag": 0.0, "latest_finish": 0.0, "patience": patience, "now": None}
    with playground.engine.begin() as connection:
        found = connection.execute(rollup._HORIZON, limits).scalar_one()
    assert isinstance(found, datetime)
    return found


def test_a_finish_that_commits_late_is_not_missed(playground: Playground) -> None:
    """Nothing is counted past the beginning of a transaction that is still open."""
    with playground.transaction() as slow:
        began = slow.execute(text("SELECT now()")).scalar_one()
        assert _horizon(playground, rollup.PATIENCE) == began
    assert _horizon(playground, rollup.PATIENCE) > began


def test_a_transaction_open_for_longer_than_any_finish_takes_is_not_waited_for(playground: Playground) -> None:
    with playground.transaction() as stuck:
        began = stuck.execute(text("SELECT now()")).scalar_one()
        assert _horizon(playground, 0.0) > began


def test_two_schedulers_count_each_job_once(playground: Playground) -> None:
    claimant = playground.worker()
    jobs: list[UUID] = [playground.running(claimant).id for _ in range(60)]
    for place, job_id in enumerate(jobs):
        playground.sql(
            "UPDATE jobs SET state = 'SUCCESS', finished_at = :when WHERE id = :id", id=job_id, when=at(place)
        )
    barrier = threading.Barrier(4)

    def count() -> None:
        barrier.wait()
        while counted(playground) < len(jobs):
            roll(playground, 3600, slice_size=5)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(playground) == len(jobs)
    assert playground.value("SELECT sum(jobs) FROM finished_minutes") == len(jobs)


def test_while_one_counts_another_goes_away(playground: Playground) -> None:
    playground.ended(State.SUCCESS)
    with playground.engine.begin() as first:
        assert roll_up(first, now=at(60)).jobs == 1
        assert roll(playground) == RolledUp(0, is_behind=False)
    assert counted(playground) == 1


def test_a_counted_job_that_starts_anew_is_no_longer_among_the_finished(playground: Playground) -> None:
    playground.ended(State.FAILED)
    job = playground.ended(State.FAILED, now=at(70))
    roll(playground, 100)
    with playground.engine.begin() as connection:
        transitions.retry(connection, job.id, now=at(100))
    assert [row.jobs for row in playground.sql("SELECT jobs FROM finished_minutes ORDER BY minute")] == [1, 0]
    assert counted(playground) == 2


def test_an_uncounted_job_that_starts_anew_changes_no_count(playground: Playground) -> None:
    playground.ended(State.FAILED)
    roll(playground)
    job = playground.ended(State.FAILED, now=at(58))
    with playground.engine.begin() as connection:
        transitions.retry(connection, job.id, now=at(60))
    assert playground.value("SELECT jobs FROM finished_minutes") == 1


def test_minutes_long_past_become_hours(playground: Playground) -> None:
    for seconds in (0, 61, 62, 3590, 3600):
        playground.ended(State.SUCCESS, now=at(seconds))
    roll(playground, 4000)

    def fold(seconds: float, limit: int = 100) -> int:
        with playground.engine.begin() as connection:
            return rollup.fold(connection, limit=limit, now=at(seconds))

    assert fold(FOLD_AFTER) == 0
    assert [fold(FOLD_AFTER + 3600, limit=1) for _ in range(3)] == [1, 1, 0]
    rows = playground.sql("SELECT * FROM finished_minutes ORDER BY minute")
    assert [(row.minute, row.jobs, sum(row.run_buckets)) for row in rows] == [(NOW, 4, 4), (at(3600), 1, 1)]
    assert counted(playground) == 5


def test_a_job_counted_in_an_hour_that_starts_anew_is_no_longer_among_the_finished(playground: Playground) -> None:
    playground.ended(State.FAILED)
    job = playground.ended(State.FAILED, now=at(100))
    roll(playground, 4000)
    with playground.engine.begin() as connection:
        rollup.fold(connection, now=at(FOLD_AFTER + 3600))
        transitions.retry(connection, job.id, now=at(FOLD_AFTER + 3600))
    assert playground.value("SELECT sum(jobs) FROM finished_minutes") == 1


def test_a_look_tells_whether_there_is_something_to_count(playground: Playground) -> None:
    def look() -> bool:
        with playground.engine.begin() as connection:
            return rollup.has_uncounted(connection)

    assert not look()
    job = playground.running(now=None)
    playground.sql("UPDATE jobs SET state = 'SUCCESS', finished_at = now() - interval '10 s' WHERE id = :id", id=job.id)
    assert look()
    with playground.engine.begin() as connection:
        assert roll_up(connection).jobs == 1
    assert not look()

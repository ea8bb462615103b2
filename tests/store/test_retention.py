"""What has been kept long enough goes, with all that hangs on it; nothing else does."""

import pytest

from playground import NOW, Playground, at
from steeple.domain.states import State
from steeple.store import retention
from steeple.store.rollup import roll_up

WEEK = 7 * 86400.0


def roll(playground: Playground, seconds: float) -> None:
    with playground.engine.begin() as connection:
        roll_up(connection, now=at(seconds))


def prune(playground: Playground, seconds: float, *, limit: int = 100, keep: float = WEEK) -> int:
    with playground.engine.begin() as connection:
        return retention.prune(connection, keep, limit=limit, now=at(seconds))


def forget(playground: Playground, seconds: float, *, keep: float = WEEK) -> int:
    with playground.engine.begin() as connection:
        return retention.forget_minutes(connection, keep, now=at(seconds))


def test_finished_jobs_go_after_their_retention(playground: Playground) -> None:
    for state in (State.SUCCESS, State.FAILED, State.CANCELLED):
        playground.ended(state)
    kept = playground.ended(State.SUCCESS, now=at(10)).id
    roll(playground, WEEK)
    assert prune(playground, WEEK) == 0
    assert prune(playground, WEEK + 5) == 3
    assert [row.id for row in playground.sql("SELECT id FROM jobs")] == [kept]


def test_jobs_that_have_not_finished_stay_for_ever(playground: Playground) -> None:
    playground.running()
    playground.add()
    roll(playground, 100 * WEEK)
    assert prune(playground, 100 * WEEK) == 0
    assert playground.value("SELECT count(*) FROM jobs") == 2


def test_attempts_and_logs_go_with_their_job(playground: Playground) -> None:
    job = playground.ended(State.FAILED)
    playground.sql(
        "INSERT INTO job_logs (job_id, attempt, at, message, fields) VALUES (:id, 1, now(), 'm', '{}')", id=job.id
    )
    roll(playground, WEEK)
    assert prune(playground, WEEK + 1) == 1
    assert playground.value("SELECT (SELECT count(*) FROM attempts) + (SELECT count(*) FROM job_logs)") == 0


def test_the_oldest_go_first_in_batches(playground: Playground) -> None:
    for seconds in (3, 1, 2):
        playground.ended(State.SUCCESS, now=at(seconds), task=f"t{seconds}")
    roll(playground, WEEK)
    assert prune(playground, 2 * WEEK, limit=2) == 2
    assert [row.task for row in playground.sql("SELECT task FROM jobs")] == ["t3"]
    assert prune(playground, 2 * WEEK, limit=2) == 1


def test_a_job_that_has_not_been_counted_stays_for_now(playground: Playground) -> None:
    playground.ended(State.SUCCESS)
    assert prune(playground, 2 * WEEK) == 0
    roll(playground, WEEK)
    playground.ended(State.SUCCESS, now=at(WEEK))
    assert prune(playground, 3 * WEEK) == 1


def test_two_schedulers_prune_side_by_side(playground: Playground) -> None:
    for _ in range(4):
        playground.ended(State.SUCCESS)
    roll(playground, WEEK)
    with playground.engine.begin() as first:
        assert retention.prune(first, WEEK, limit=2, now=at(2 * WEEK)) == 2
        assert prune(playground, 2 * WEEK) == 2
    assert playground.value("SELECT count(*) FROM jobs") == 0


def test_counts_go_when_no_job_of_theirs_is_left(playground: Playground) -> None:
    playground.ended(State.SUCCESS)
    playground.ended(State.SUCCESS, now=at(120))
    roll(playground, WEEK)
    assert forget(playground, 2 * WEEK) == 0
    prune(playground, WEEK + 30)
    assert forget(playground, WEEK + 30) == 0
    prune(playground, 2 * WEEK)
    assert forget(playground, 2 * WEEK) == 2
    assert playground.value("SELECT jobs FROM finished_totals") == 2
    assert playground.value("SELECT at FROM watermarks") > NOW


@pytest.mark.parametrize(("keep", "length"), [(600.0, 60.0), (WEEK, 3600.0)])
def test_counts_of_an_hour_or_a_minute_go_as_soon_as_it_is_past(
    playground: Playground, keep: float, length: float
) -> None:
    """With a short retention they are still minutes when they go; with a long one they are hours by then."""
    playground.ended(State.SUCCESS)
    roll(playground, keep)
    prune(playground, keep + 1, keep=keep)
    gone = [forget(playground, keep + seconds, keep=keep) for seconds in (length - 1, length + 1)]
    assert gone == [0, 1]

"""Claims that go on where an earlier one left off: what they pass over, and what they must not."""

from datetime import timedelta
from uuid import UUID

from playground import NOW, Playground, at
from steeple.domain.priority import Priority
from steeple.store.exchange import Claimant, exchange

LONG_AGO = NOW - timedelta(minutes=10)


def claim(
    playground: Playground, claimant: Claimant, marks: str | None = None, *, limit: int = 1, seconds: float = 0.0
) -> tuple[list[UUID], str | None]:
    """What is claimed, and the marks."""
    with playground.engine.begin() as connection:
        exchanged = exchange(connection, [], claimant, limit, marks=marks, now=at(seconds))
    return [job.id for job in exchanged.jobs], exchanged.marks


def test_a_claim_goes_on_where_the_last_one_left_off(playground: Playground) -> None:
    jobs = [playground.add(run_at=LONG_AGO + timedelta(seconds=number)) for number in range(3)]
    claimant = playground.worker()
    first, marks = claim(playground, claimant)
    second, marks = claim(playground, claimant, marks)
    third, _ = claim(playground, claimant, marks)
    assert first + second + third == jobs


def test_among_jobs_of_one_moment_none_is_passed_over(playground: Playground) -> None:
    jobs = set(playground.add_many(5, run_at=LONG_AGO))
    claimant = playground.worker()
    found, marks = claim(playground, claimant, limit=2)
    rest, _ = claim(playground, claimant, marks, limit=5)
    assert {*found, *rest} == jobs


def test_a_job_that_became_due_late_is_seen_by_a_look_from_the_beginning(playground: Playground) -> None:
    playground.add(run_at=LONG_AGO)
    claimant = playground.worker()
    _, marks = claim(playground, claimant)
    late = playground.add(run_at=LONG_AGO - timedelta(hours=1))
    assert claim(playground, claimant, marks)[0] == []
    assert claim(playground, claimant)[0] == [late]


def test_of_the_last_second_nothing_is_passed_over(playground: Playground) -> None:
    """Neither behind what was claimed nor in a lane that was empty: a submit commits a moment after its time."""
    playground.add(run_at=at(-0.1))
    claimant = playground.worker()
    _, marks = claim(playground, claimant)
    slow = playground.add(run_at=at(-0.9))
    slow_and_high = playground.add(run_at=at(-0.9), priority=Priority.HIGH)
    assert claim(playground, claimant, marks, limit=2)[0] == [slow_and_high, slow]


def test_a_higher_priority_goes_first_at_once(playground: Playground) -> None:
    for _ in range(2):
        playground.add(run_at=LONG_AGO, priority=Priority.LOW)
    claimant = playground.worker()
    _, marks = claim(playground, claimant)
    high = playground.add(run_at=NOW, priority=Priority.HIGH)
    assert claim(playground, claimant, marks)[0] == [high]


def test_a_queue_that_had_nothing_is_seen_by_a_look_from_the_beginning(playground: Playground) -> None:
    playground.add(run_at=LONG_AGO)
    claimant = playground.worker()
    _, marks = claim(playground, claimant)
    other = playground.add(queue="other", run_at=NOW)
    assert claim(playground, claimant, marks)[0] == []
    assert claim(playground, claimant)[0] == [other]


def test_what_was_claimed_is_not_looked_at_again_though_a_transaction_keeps_it(playground: Playground) -> None:
    """The reason for all this. Counted by what PostgreSQL reads, as times say nothing on a busy machine."""
    playground.add_many(3000, run_at=LONG_AGO)
    playground.add_many(10, run_at=NOW)
    claimant = playground.worker()
    with playground.engine.connect() as keeper:
        keeper.exec_driver_sql("SELECT pg_current_xact_id(), count(*) FROM jobs")
        for _ in range(30):
            _, marks = claim(playground, claimant, limit=100)
        from_the_beginning = _reads(playground, claimant, None)
        from_the_marks = _reads(playground, claimant, marks)
    assert from_the_marks < from_the_beginning / 3


def _reads(playground: Playground, claimant: Claimant, marks: str | None) -> int:
    """Pages of the jobs and their indexes that a claim goes through."""
    query = """
        SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read FROM pg_statio_user_tables
        WHERE relname = 'jobs'
    """
    with playground.engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        before = connection.exec_driver_sql(query).scalar_one()
    with playground.engine.connect() as connection:
        exchange(connection, [], claimant, 1, marks=marks, now=NOW)
        connection.rollback()
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        connection.rollback()
        return int(connection.exec_driver_sql(query).scalar_one()) - int(before)

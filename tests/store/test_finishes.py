"""The half of the exchange that finishes: which outcomes count, and what they make of a job."""

from datetime import timedelta

import pytest

from playground import NOW, Attempt, Playground, at, claim_of, end
from steeple.domain.job import JobError, Reason
from steeple.domain.states import State
from steeple.store import transitions
from steeple.store.exchange import exchange
from steeple.store.finish_rows import LATEST_FINISH


@pytest.mark.parametrize("state", [State.SUCCESS, State.FAILED])
def test_a_finish_ends_the_job(playground: Playground, state: State) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    assert playground.finish(claimant, end(job, state, began_ago=5.0, ended_ago=0.5), now=at(60)) == ()
    seen = playground.read(job.id)
    assert (seen.state, seen.fence, seen.attempt) == (state, job.fence, 1)
    assert (seen.started_at, seen.finished_at) == (at(55), at(59.5))
    assert (seen.result, seen.error is None) == (('"done"', True) if state == State.SUCCESS else (None, False))


def test_only_attempts_without_success_leave_a_row(playground: Playground) -> None:
    expected = {State.SUCCESS: [], State.FAILED: [Attempt(1, 1, State.FAILED, "exception")]}
    for state, rows in expected.items():
        assert playground.attempts(playground.ended(state).id) == rows


def test_a_retryable_finish_makes_the_job_pending_until_its_time(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    playground.finish(claimant, end(job, State.PENDING, retry_in=30.0), now=at(1))
    seen = playground.read(job.id)
    assert (seen.state, seen.fence, seen.attempt, seen.run_at) == (State.PENDING, job.fence, 1, at(31))
    assert (seen.finished_at, seen.error is None) == (None, False)
    assert playground.claim(claimant, now=at(30)) == ()
    (again,) = playground.claim(claimant, now=at(31))
    assert (again.fence, again.attempt) == (2, 2)
    assert playground.attempts(job.id) == [Attempt(1, 1, State.FAILED, "exception")]


def test_cancel_beats_a_retryable_finish(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    with playground.engine.begin() as connection:
        transitions.cancel(connection, job.id)
    playground.finish(claimant, end(job, State.PENDING))
    seen = playground.read(job.id)
    assert (seen.state, seen.fence) == (State.CANCELLED, job.fence + 1)
    assert seen.finished_at is not None
    assert playground.attempts(job.id) == [Attempt(1, 1, State.CANCELLED, "exception")]


@pytest.mark.parametrize("state", [State.SUCCESS, State.FAILED])
def test_an_end_that_came_before_the_cancel_counts(playground: Playground, state: State) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    with playground.engine.begin() as connection:
        transitions.cancel(connection, job.id)
    assert playground.finish(claimant, end(job, state)) == ()
    assert playground.read(job.id).state == state


def test_a_stopped_attempt_ends_cancelled_with_a_new_fence(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    playground.finish(claimant, end(job, State.CANCELLED))
    seen = playground.read(job.id)
    assert (seen.state, seen.fence) == (State.CANCELLED, job.fence + 1)


def test_a_stale_finish_is_dropped_and_told(playground: Playground) -> None:
    claimant = playground.worker()
    jobs = [playground.running(claimant) for _ in range(3)]
    with playground.engine.begin() as connection:
        transitions.release(connection, [claim_of(jobs[1])])
    stale = playground.finish(claimant, *(end(job, State.SUCCESS) for job in jobs))
    assert stale == (claim_of(jobs[1]),)
    assert [playground.read(job.id).state for job in jobs] == [State.SUCCESS, State.PENDING, State.SUCCESS]


def test_the_same_finish_twice_counts_once(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    assert playground.finish(claimant, end(job, State.SUCCESS)) == ()
    assert playground.finish(claimant, end(job, State.FAILED)) == (claim_of(job),)
    assert playground.read(job.id).state == State.SUCCESS


def test_an_old_finish_beside_the_new_one_of_the_same_job_is_told(playground: Playground) -> None:
    claimant = playground.worker()
    old = playground.running(claimant)
    with playground.engine.begin() as connection:
        transitions.release(connection, [claim_of(old)])
    (new,) = playground.claim(claimant)
    assert playground.finish(claimant, end(old, State.FAILED), end(new, State.SUCCESS)) == (claim_of(old),)
    assert playground.read(old.id).state == State.SUCCESS


def test_a_finish_for_a_job_that_is_gone_is_stale(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    playground.sql("DELETE FROM jobs")
    assert playground.finish(claimant, end(job, State.SUCCESS)) == (claim_of(job),)


def test_one_statement_finishes_and_claims(playground: Playground) -> None:
    claimant = playground.worker()
    first = playground.running(claimant)
    second = playground.add()
    exchanged = playground.exchange(claimant, [end(first, State.SUCCESS)], 5)
    assert (exchanged.stale, [job.id for job in exchanged.jobs]) == ((), [second])
    assert playground.read(first.id).state == State.SUCCESS


def test_a_job_is_not_claimed_by_the_statement_that_puts_it_back(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    exchanged = playground.exchange(claimant, [end(job, State.PENDING, retry_in=0.0)], 5)
    assert exchanged.jobs == ()
    assert [each.id for each in playground.claim(claimant, 5)] == [job.id]


def test_a_finish_of_a_worker_that_was_taken_for_dead_counts_while_its_claim_holds(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    playground.sql("UPDATE workers SET ended_at = now()")
    assert playground.finish(claimant, end(job, State.SUCCESS)) == ()
    assert playground.read(job.id).state == State.SUCCESS


def test_a_late_finish_is_dated_near_its_writing(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    playground.finish(claimant, end(job, State.SUCCESS, began_ago=100.0, ended_ago=90.0), now=at(200))
    assert playground.read(job.id).finished_at == at(200) - timedelta(seconds=LATEST_FINISH)


def test_claims_finishes_and_releases_are_durable(playground: Playground) -> None:
    claimant = playground.worker()
    playground.add_many(2)
    with playground.engine.begin() as connection:
        (job,) = exchange(connection, [], claimant, 1, now=NOW).jobs
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    with playground.engine.begin() as connection:
        (other,) = exchange(connection, [end(job, State.SUCCESS)], claimant, 1, now=NOW).jobs
        transitions.release(connection, [claim_of(other)])
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_an_error_with_unstorable_characters_is_stored(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    error = JobError("ValueError", "a\x00b \ud800 " + "x" * 100_000, Reason.EXCEPTION, "\x00")
    assert playground.finish(claimant, end(job, State.FAILED, error=error)) == ()
    assert "a\\ufffdb" in (playground.read(job.id).error or "")

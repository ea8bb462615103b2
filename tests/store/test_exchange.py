"""Claiming and finishing in one statement: the order of claims, who may claim what, and which finishes count."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from playground import NOW, Attempt, Playground, at, claim_of, end
from steeple.domain.job import Finish, JobError, Reason
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.retry import Retry
from steeple.domain.states import State
from steeple.store import transitions
from steeple.store.exchange import LATEST_FINISH, Claimant, exchange, finish_one_by_one

HIGH, DEFAULT, LOW = Priority


def test_a_claim_makes_the_job_running_with_a_new_fence(playground: Playground) -> None:
    claimant = playground.worker("anna")
    job_id = playground.add(
        task="t", args='{"a":1}', queue="q", timeout=5.0, max_attempts=4, retry=Retry(initial=7.0), now=at(-3)
    )
    (job,) = playground.claim(claimant)
    assert (job.id, job.fence, job.attempt, job.max_attempts) == (job_id, 1, 1, 4)
    assert (job.task, job.args, job.queue, job.timeout) == ("t", '{"a":1}', "q", 5.0)
    assert (job.retry, job.run_at, job.claimed_at) == (Retry(initial=7.0), at(-3), NOW)
    seen = playground.read(job_id)
    assert (seen.state, seen.worker, seen.started_at) == (State.RUNNING, "anna", NOW)


def test_jobs_go_by_priority_then_time_then_id(playground: Playground) -> None:
    low = playground.add(priority=LOW, run_at=at(-50))
    late, early = (playground.add(priority=DEFAULT, run_at=at(when)) for when in (-10, -20))
    same = playground.add_many(3, priority=HIGH, run_at=at(-1))
    claimed = playground.claim(playground.worker(), 10)
    assert [job.id for job in claimed] == [*sorted(same), early, late, low]


def test_queues_of_one_priority_go_by_their_oldest_job(playground: Playground) -> None:
    young = playground.add(queue="a", run_at=at(-1))
    old = playground.add(queue="b", run_at=at(-2))
    claimant = playground.worker()
    assert [playground.claim(claimant)[0].id for _ in range(2)] == [old, young]


def test_no_more_is_claimed_than_asked_for(playground: Playground) -> None:
    playground.add_many(5)
    claimant = playground.worker()
    assert [len(playground.claim(claimant, limit)) for limit in (0, 2, 128)] == [0, 2, 3]


def test_a_job_is_not_claimed_before_its_time(playground: Playground) -> None:
    job_id = playground.add(run_at=at(1))
    claimant = playground.worker()
    assert playground.claim(claimant, now=at(0.999)) == ()
    assert [job.id for job in playground.claim(claimant, now=at(1))] == [job_id]


def test_a_delay_counts_from_the_submit(playground: Playground) -> None:
    job_id = playground.add(delay=30.0)
    assert playground.read(job_id).run_at == at(30)


def test_an_expired_job_is_not_claimed(playground: Playground) -> None:
    playground.add(expires_at=at(5))
    claimant = playground.worker()
    assert playground.claim(claimant, now=at(5)) == ()
    assert len(playground.claim(claimant, now=at(4.9))) == 1


def test_an_expired_job_does_not_hide_the_next(playground: Playground) -> None:
    playground.add(expires_at=at(-1), run_at=at(-10))
    job_id = playground.add()
    assert [job.id for job in playground.claim(playground.worker(), 1)] == [job_id]


def test_a_job_that_starves_goes_before_a_higher_priority(playground: Playground) -> None:
    high = playground.add_many(2, priority=HIGH, run_at=at(-10))
    starving = playground.add(priority=LOW, run_at=at(-3610))
    waiting = playground.add(priority=LOW, run_at=at(-3609))
    claimed = playground.claim(playground.worker(starvation=3600.0), 10)
    assert [job.id for job in claimed] == [starving, *high, waiting]


def test_within_a_starving_lane_only_jobs_that_waited_long_enough_go_first(playground: Playground) -> None:
    high = playground.add(priority=HIGH)
    starving = [playground.add(priority=LOW, run_at=at(when)) for when in (-40, -30)]
    fresh = playground.add(priority=LOW, run_at=at(-5))
    claimed = playground.claim(playground.worker(starvation=20.0), 10)
    assert [job.id for job in claimed] == [*starving, high, fresh]


def test_nobody_starves_while_the_rivals_have_waited_as_long(playground: Playground) -> None:
    low = playground.add(priority=LOW, run_at=at(-9000))
    high = playground.add(priority=HIGH, run_at=at(-8000))
    assert [job.id for job in playground.claim(playground.worker(), 2)] == [high, low]


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        (Binding(), {"a high", "a low", "b high", "b low"}),
        (Binding(queues=("a",)), {"a high", "a low"}),
        (Binding(priorities=(HIGH,)), {"a high", "b high"}),
        (Binding(queues=("b", "c"), priorities=(LOW, DEFAULT)), {"b low"}),
    ],
)
def test_a_worker_claims_from_its_lanes_only(playground: Playground, binding: Binding, expected: set[str]) -> None:
    for queue in ("a", "b"):
        for priority in (HIGH, LOW):
            playground.add(task=f"{queue} {priority}", queue=queue, priority=priority)
    claimed = playground.claim(playground.worker(binding=binding), 10)
    assert {job.task for job in claimed} == expected


def test_a_worker_claims_the_tasks_that_it_knows(playground: Playground) -> None:
    playground.add(task="other", run_at=at(-10), priority=HIGH)
    known = playground.add(task="known")
    claimed = playground.claim(playground.worker(tasks=("known", "more")), 10)
    assert [job.id for job in claimed] == [known]


def test_a_job_that_ever_crashed_is_claimed_alone(playground: Playground) -> None:
    crashed = playground.add(run_at=at(-5))
    others = [playground.add(run_at=at(when)) for when in (-6, -4, -3)]
    playground.sql("UPDATE jobs SET crashes = 1 WHERE id = :id", id=crashed)
    claimant = playground.worker()
    claims = [[job.id for job in playground.claim(claimant, 10)] for _ in range(3)]
    assert claims == [[others[0]], [crashed], others[1:]]


def test_jobs_left_behind_by_a_lone_claim_are_not_locked(playground: Playground) -> None:
    crashed, other = (playground.add(run_at=at(when)) for when in (-2, -1))
    playground.sql("UPDATE jobs SET crashes = 2 WHERE id = :id", id=crashed)
    first, second = playground.worker(), playground.worker()
    assert [job.id for job in playground.claim(first, 10)] == [crashed]
    assert [job.id for job in playground.claim(second, 10)] == [other]


def test_the_best_lane_with_due_jobs_is_told(playground: Playground) -> None:
    playground.add(queue="a", priority=LOW)
    playground.add(queue="b", priority=DEFAULT)
    claimant = playground.worker()
    assert playground.exchange(claimant, limit=0).due == Lane("b", DEFAULT)
    playground.claim(claimant, 2)
    assert playground.exchange(claimant, limit=0).due is None


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


def test_a_worker_that_was_taken_for_dead_claims_nothing(playground: Playground) -> None:
    playground.add()
    claimant = playground.worker()
    playground.sql("UPDATE workers SET ended_at = now()")
    exchanged = playground.exchange(claimant, limit=5)
    assert (exchanged.jobs, exchanged.is_alive, exchanged.due) == ((), False, None)


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


def test_claims_are_quick_and_finishes_are_durable(playground: Playground) -> None:
    claimant = playground.worker()
    playground.add_many(2)
    with playground.engine.begin() as connection:
        (job,) = exchange(connection, [], claimant, 1, now=NOW).jobs
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "off"
    with playground.engine.begin() as connection:
        exchange(connection, [end(job, State.SUCCESS)], claimant, 1, now=NOW)
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_one_refused_finish_does_not_lose_its_neighbours(playground: Playground) -> None:
    claimant = playground.worker()
    jobs = [playground.running(claimant) for _ in range(3)]
    finishes = [end(job, State.SUCCESS) for job in jobs]
    finishes[1] = Finish(jobs[1].id, jobs[1].fence, State.SUCCESS, result="{no json")
    with pytest.raises(DBAPIError), playground.engine.begin() as connection:
        exchange(connection, finishes, claimant, 0, now=NOW)
    with playground.engine.begin() as connection:
        refused = finish_one_by_one(connection, finishes, claimant)
    assert len(refused) == 1
    assert [playground.read(job.id).state for job in jobs] == [State.SUCCESS, State.RUNNING, State.SUCCESS]


def test_an_error_with_unstorable_characters_is_stored(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    error = JobError("ValueError", "a\x00b \ud800 " + "x" * 100_000, Reason.EXCEPTION, "\x00")
    assert playground.finish(claimant, end(job, State.FAILED, error=error)) == ()
    assert "a\\ufffdb" in (playground.read(job.id).error or "")


@pytest.mark.parametrize("binding", [Binding(), Binding(queues=("a", "b", "c"))], ids=["every queue", "some queues"])
def test_concurrent_claimants_never_get_the_same_job(playground: Playground, binding: Binding) -> None:
    expected = {job_id for queue in "abc" for job_id in playground.add_many(100, queue=queue, now=None)}
    claimants = [playground.worker(f"w{number}", binding=binding) for number in range(4)]
    found: list[list[object]] = [[] for _ in claimants]
    barrier = threading.Barrier(len(claimants))

    def drain(claimant: Claimant, mine: list[object]) -> None:
        barrier.wait()
        empty = 0
        while empty < 3:
            jobs = playground.claim(claimant, 7, now=None)
            mine += [job.id for job in jobs]
            empty = 0 if jobs else empty + 1

    threads = [threading.Thread(target=drain, args=pair) for pair in zip(claimants, found, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed = [job_id for mine in found for job_id in mine]
    assert len(claimed) == len(expected)
    assert set(claimed) == expected

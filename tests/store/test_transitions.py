"""Every way from one state to another that is not the exchange's, each with its fence."""

from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from playground import NOW, Attempt, Playground, at, claim_of, end
from steeple.domain.job import Claim
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import TERMINAL, TRANSITIONS, Cause, State, sources
from steeple.errors import InvalidJob, JobNotFound, StateConflict
from steeple.store import transitions
from steeple.store.transitions import Edit, Rescued

Act = Callable[[Connection], object]


def do(playground: Playground, act: Act) -> object:
    with playground.engine.begin() as connection:
        return act(connection)


def make(playground: Playground, state: State | None) -> Claim:
    """A job in ``state``; its id and present fence."""
    if state == State.PENDING:
        return Claim(playground.add(), 0)
    if state == State.RUNNING:
        return claim_of(playground.running())
    assert state is not None
    job = playground.ended(state)
    return Claim(job.id, playground.read(job.id).fence)


ACTS: dict[Cause, Callable[[Claim], Act]] = {
    Cause.RESCUE: lambda claim: lambda connection: transitions.rescue(connection, [claim], "gone", now=NOW),
    Cause.RELEASE: lambda claim: lambda connection: transitions.release(connection, [claim]),
    Cause.CANCEL: lambda claim: lambda connection: transitions.cancel(connection, claim.id, now=NOW),
    Cause.RETRY: lambda claim: lambda connection: transitions.retry(connection, claim.id, now=NOW),
    Cause.EXPIRE: lambda _: lambda connection: transitions.expire(connection, now=at(100)),
}


@pytest.mark.parametrize("cause", ACTS, ids=lambda cause: cause.name.lower())
@pytest.mark.parametrize("state", State)
def test_a_cause_acts_on_the_states_of_the_table_only(playground: Playground, cause: Cause, state: State) -> None:
    """Whether it raises, matches nothing or does its work: what is stored tells."""
    claim = make(playground, state)
    playground.sql("UPDATE jobs SET expires_at = :when", when=at(50))
    with suppress(StateConflict):
        do(playground, ACTS[cause](claim))
    seen = playground.read(claim.id)
    if state not in sources(cause):
        assert (seen.state, seen.fence) == (state, claim.fence)
    elif (cause, state) == (Cause.CANCEL, State.RUNNING):
        assert (seen.state, seen.fence, seen.cancel_requested_at) == (state, claim.fence, NOW)
    else:
        allowed = {step.target: step for step in TRANSITIONS if (step.source, step.cause) == (state, cause)}
        assert seen.state in allowed
        assert seen.fence == claim.fence + allowed[seen.state].raises_fence


def test_a_cancelled_pending_job_has_ended(playground: Playground) -> None:
    job_id = playground.add()
    do(playground, ACTS[Cause.CANCEL](Claim(job_id, 0)))
    seen = playground.read(job_id)
    assert (seen.state, seen.finished_at, seen.cancel_requested_at) == (State.CANCELLED, NOW, NOW)
    assert playground.claim(playground.worker()) == ()


def test_the_first_wish_to_cancel_is_the_one_that_is_kept(playground: Playground) -> None:
    job = playground.running()
    do(playground, lambda connection: transitions.cancel(connection, job.id, now=NOW))
    do(playground, lambda connection: transitions.cancel(connection, job.id, now=at(5)))
    assert playground.read(job.id).cancel_requested_at == NOW


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_an_explicit_retry_starts_the_job_anew(playground: Playground, state: State) -> None:
    job = playground.ended(state, expires_at=at(60), priority=Priority.HIGH, queue="q")
    lane = do(playground, lambda connection: transitions.retry(connection, job.id, now=at(100)))
    assert lane == Lane("q", Priority.HIGH)
    seen = playground.read(job.id)
    assert (seen.state, seen.attempt, seen.crashes, seen.run_at) == (State.PENDING, 0, 0, at(100))
    gone = (seen.expires_at, seen.started_at, seen.finished_at, seen.cancel_requested_at, seen.worker)
    assert gone == (None,) * 5
    assert (seen.progress, seen.result, seen.error) == (None, None, None)
    (again,) = playground.claim(playground.worker(), now=at(100))
    assert (again.id, again.attempt) == (job.id, 1)


def test_a_success_that_is_retried_is_kept_as_a_past_attempt(playground: Playground) -> None:
    job = playground.ended(State.SUCCESS)
    do(playground, ACTS[Cause.RETRY](claim_of(job)))
    assert playground.attempts(job.id) == [Attempt(1, 1, State.SUCCESS, None)]


def test_a_retry_whose_answer_was_lost_is_not_done_twice(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    playground.finish(claimant, end(job, State.FAILED))
    request = transitions.retry_once(job.id)
    lane = do(playground, request)
    (again,) = playground.claim(claimant, now=None)
    playground.finish(claimant, end(again, State.SUCCESS))
    assert do(playground, request) == lane
    assert playground.read(job.id).state is State.SUCCESS
    do(playground, transitions.retry_once(job.id))
    assert playground.read(job.id).state is State.PENDING


def test_a_retry_that_was_refused_is_not_taken_for_done_when_the_job_has_run_meanwhile(playground: Playground) -> None:
    """The first try met a pending job, and its refusal was lost with the connection: the claim has raised the fence."""
    claimant = playground.worker()
    job_id = playground.add(now=None)
    request = transitions.retry_once(job_id)
    with pytest.raises(StateConflict):
        do(playground, request)
    (job,) = playground.claim(claimant, now=None)
    playground.finish(claimant, end(job, State.SUCCESS))
    do(playground, request)
    assert playground.read(job_id).state is State.PENDING


def test_released_claims_count_no_attempt(playground: Playground) -> None:
    claimant = playground.worker()
    jobs = [playground.running(claimant) for _ in range(3)]
    assert do(playground, lambda connection: transitions.release(connection, [claim_of(job) for job in jobs])) == 3
    for job in jobs:
        seen = playground.read(job.id)
        assert (seen.state, seen.fence, seen.attempt, seen.run_at) == (State.PENDING, 2, 0, job.run_at)
        assert (seen.started_at, seen.worker) == (None, None)
        assert playground.attempts(job.id) == []


def test_a_release_can_put_a_job_off(playground: Playground) -> None:
    job = playground.running(now=None)
    do(playground, lambda connection: transitions.release(connection, [claim_of(job)], delay=60.0))
    waits = "SELECT EXTRACT(epoch FROM run_at - now()) FROM jobs"
    assert 50 < playground.value(waits) <= 60


def test_a_released_job_that_was_cancelled_ends(playground: Playground) -> None:
    job = playground.running()
    do(playground, ACTS[Cause.CANCEL](claim_of(job)))
    do(playground, ACTS[Cause.RELEASE](claim_of(job)))
    seen = playground.read(job.id)
    assert (seen.state, seen.fence, seen.finished_at is None) == (State.CANCELLED, 2, False)


@pytest.mark.parametrize("act", [Cause.RELEASE, Cause.RESCUE])
def test_an_old_fence_takes_nothing_away(playground: Playground, act: Cause) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    do(playground, ACTS[Cause.RELEASE](claim_of(job)))
    (again,) = playground.claim(claimant)
    do(playground, ACTS[act](claim_of(job)))
    seen = playground.read(job.id)
    assert (seen.state, seen.fence, seen.crashes) == (State.RUNNING, again.fence, 0)


def test_a_rescued_job_runs_again_and_its_crash_counts(playground: Playground) -> None:
    job = playground.running(queue="q")
    rescued = do(playground, ACTS[Cause.RESCUE](claim_of(job)))
    assert rescued == Rescued(1, frozenset({Lane("q", Priority.DEFAULT)}))
    seen = playground.read(job.id)
    assert (seen.state, seen.fence, seen.attempt, seen.crashes, seen.finished_at) == (State.PENDING, 2, 1, 1, None)
    assert '"message" : "gone"' in (seen.error or "")
    assert playground.attempts(job.id) == [Attempt(1, 1, State.FAILED, "crash")]


def test_the_third_crash_fails_the_job(playground: Playground) -> None:
    claimant = playground.worker()
    job_id = playground.add(max_attempts=10)
    for crashes in (1, 2, 3):
        (job,) = playground.claim(claimant)
        do(playground, ACTS[Cause.RESCUE](claim_of(job)))
        assert playground.read(job_id).crashes == crashes
    seen = playground.read(job_id)
    assert (seen.state, seen.attempt, seen.fence, seen.finished_at) == (State.FAILED, 3, 6, NOW)
    assert '"reason" : "crash"' in (seen.error or "")


def test_a_crash_of_the_last_attempt_fails_the_job(playground: Playground) -> None:
    job = playground.running(max_attempts=1)
    assert do(playground, ACTS[Cause.RESCUE](claim_of(job))) == Rescued(1, frozenset())
    assert playground.read(job.id).state == State.FAILED


def test_a_rescued_job_that_was_cancelled_is_cancelled(playground: Playground) -> None:
    job = playground.running()
    do(playground, ACTS[Cause.CANCEL](claim_of(job)))
    do(playground, ACTS[Cause.RESCUE](claim_of(job)))
    seen = playground.read(job.id)
    assert (seen.state, seen.fence, seen.error, seen.finished_at) == (State.CANCELLED, 2, None, NOW)


def test_what_a_slot_holds_is_found_by_the_database_s_account(playground: Playground) -> None:
    claimant = playground.worker()
    held = [claim_of(playground.running(claimant)) for _ in range(2)]
    playground.running()
    found = do(playground, lambda connection: transitions.held_by_slot(connection, claimant.worker_id, 0))
    assert found == tuple(held)
    assert do(playground, lambda connection: transitions.held_by_slot(connection, claimant.worker_id, 1)) == ()


def test_jobs_that_did_not_start_in_time_fail(playground: Playground) -> None:
    late = playground.add_many(3, expires_at=at(10))
    later = playground.add(expires_at=at(11))
    counts = [do(playground, lambda connection: transitions.expire(connection, limit=2, now=at(10))) for _ in range(3)]
    assert counts == [2, 1, 0]
    for job_id in late:
        seen = playground.read(job_id)
        assert (seen.state, seen.fence, seen.attempt, seen.finished_at) == (State.FAILED, 1, 0, at(10))
        assert '"reason" : "expired"' in (seen.error or "")
    assert playground.read(later).state == State.PENDING


def test_a_running_job_does_not_expire(playground: Playground) -> None:
    job = playground.running(expires_at=at(10))
    assert do(playground, lambda connection: transitions.expire(connection, now=at(20))) == 0
    assert playground.read(job.id).state == State.RUNNING


def test_a_pending_job_can_be_edited(playground: Playground) -> None:
    job_id = playground.add()
    change = Edit(priority=Priority.LOW, queue="q", run_at=at(9), max_attempts=7)
    lane = do(playground, lambda connection: transitions.edit(connection, job_id, change))
    assert lane == Lane("q", Priority.LOW)
    seen = playground.read(job_id)
    assert (seen.priority, seen.queue, seen.run_at, seen.max_attempts) == (Priority.LOW, "q", at(9), 7)


def test_what_an_edit_leaves_out_stays(playground: Playground) -> None:
    job_id = playground.add(queue="q", priority=Priority.HIGH, run_at=at(5), max_attempts=2)
    do(playground, lambda connection: transitions.edit(connection, job_id, Edit()))
    seen = playground.read(job_id)
    assert (seen.queue, seen.priority, seen.run_at, seen.max_attempts) == ("q", Priority.HIGH, at(5), 2)


@pytest.mark.parametrize(
    ("act", "state"),
    [
        *((transitions.cancel, state) for state in sorted(TERMINAL)),
        *((transitions.retry, state) for state in (State.PENDING, State.RUNNING)),
    ],
)
def test_a_refusal_names_the_job_and_its_state(
    playground: Playground, act: Callable[..., object], state: State
) -> None:
    claim = make(playground, state)
    with pytest.raises(StateConflict) as refusal:
        do(playground, lambda connection: act(connection, claim.id))
    assert (refusal.value.job_id, refusal.value.state) == (str(claim.id), state)


@pytest.mark.parametrize("state", [State.RUNNING, *sorted(TERMINAL)])
def test_only_a_pending_job_can_be_edited(playground: Playground, state: State) -> None:
    claim = make(playground, state)
    with pytest.raises(StateConflict):
        do(playground, lambda connection: transitions.edit(connection, claim.id, Edit(queue="q")))
    assert playground.read(claim.id).queue == "default"


def test_attempts_cannot_be_limited_to_those_already_made(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    playground.finish(claimant, end(job, State.PENDING))
    with pytest.raises(InvalidJob, match="1 attempts have been made"):
        do(playground, lambda connection: transitions.edit(connection, job.id, Edit(max_attempts=1)))


@pytest.mark.parametrize(
    "act",
    [
        transitions.cancel,
        transitions.retry,
        lambda connection, job_id: transitions.edit(connection, job_id, Edit()),
    ],
    ids=["cancel", "retry", "edit"],
)
def test_a_job_that_is_not_there_is_named(playground: Playground, act: Callable[[Connection, object], object]) -> None:
    job_id = uuid4()
    with pytest.raises(JobNotFound, match=str(job_id)):
        do(playground, lambda connection: act(connection, job_id))

"""What two may do to one job at the same moment. Whoever commits first decides; the other learns of it."""

import pytest
from racing import Act, race

from playground import NOW, Playground, at, claim_of, end
from steeple.domain.job import Claim, ClaimedJob
from steeple.domain.states import State
from steeple.errors import JobNotFound, StateConflict
from steeple.store import retention, transitions, workers
from steeple.store.exchange import Claimant, exchange
from steeple.store.rollup import roll_up
from steeple.store.transitions import Edit


def cancel(job: ClaimedJob | Claim) -> Act:
    return lambda connection: transitions.cancel(connection, job.id, now=NOW)


def finish(claimant: Claimant, job: ClaimedJob, state: State = State.SUCCESS) -> Act:
    """Gives the stale claims."""
    return lambda connection: exchange(connection, [end(job, state)], claimant, 0, now=NOW).stale


def claim(claimant: Claimant) -> Act:
    """Gives the ids of the claimed jobs."""
    return lambda connection: [job.id for job in exchange(connection, [], claimant, 5, now=NOW).jobs]


def rescue(job: ClaimedJob) -> Act:
    """Gives how many jobs were taken."""
    return lambda connection: transitions.rescue(connection, [claim_of(job)], "gone", now=NOW).jobs


def release(job: ClaimedJob) -> Act:
    """Gives how many jobs were given back."""
    return lambda connection: transitions.release(connection, [claim_of(job)])


def retry(job: ClaimedJob) -> Act:
    return lambda connection: transitions.retry(connection, job.id, now=NOW)


@pytest.fixture
def claimant(playground: Playground) -> Claimant:
    return playground.worker()


def test_cancel_after_finish_is_refused(playground: Playground, claimant: Claimant) -> None:
    job = playground.running(claimant)
    stale, refusal = race(playground, finish(claimant, job), cancel(job))
    assert stale == ()
    assert isinstance(refusal, StateConflict)
    assert playground.read(job.id).state == State.SUCCESS


def test_success_after_cancel_counts(playground: Playground, claimant: Claimant) -> None:
    job = playground.running(claimant)
    _, stale = race(playground, cancel(job), finish(claimant, job))
    assert stale == ()
    assert playground.read(job.id).state == State.SUCCESS


def test_a_retry_later_after_cancel_ends_cancelled(playground: Playground, claimant: Claimant) -> None:
    """The finish began before the cancel was there to see."""
    job = playground.running(claimant)
    _, stale = race(playground, cancel(job), finish(claimant, job, State.PENDING))
    assert stale == ()
    seen = playground.read(job.id)
    assert (seen.state, seen.fence) == (State.CANCELLED, job.fence + 1)


def test_cancel_after_a_retry_later_cancels_at_once(playground: Playground, claimant: Claimant) -> None:
    job = playground.running(claimant)
    race(playground, finish(claimant, job, State.PENDING), cancel(job))
    seen = playground.read(job.id)
    assert (seen.state, seen.fence, seen.finished_at) == (State.CANCELLED, job.fence + 1, NOW)


def test_cancel_after_claim_becomes_a_wish(playground: Playground, claimant: Claimant) -> None:
    job_id = playground.add()
    claimed, _ = race(playground, claim(claimant), cancel(Claim(job_id, 0)))
    assert claimed == [job_id]
    seen = playground.read(job_id)
    assert (seen.state, seen.fence, seen.cancel_requested_at, seen.finished_at) == (State.RUNNING, 1, NOW, None)


def test_a_job_that_is_being_cancelled_is_not_claimed(playground: Playground, claimant: Claimant) -> None:
    job_id = playground.add()
    _, claimed = race(playground, cancel(Claim(job_id, 0)), claim(claimant))
    assert claimed == []
    assert playground.read(job_id).state == State.CANCELLED


def test_a_job_that_is_being_claimed_is_not_claimed_again(playground: Playground, claimant: Claimant) -> None:
    job_id = playground.add()
    assert race(playground, claim(claimant), claim(playground.worker())) == ([job_id], [])


def test_two_rescues_of_one_job_count_one_crash(playground: Playground, claimant: Claimant) -> None:
    job = playground.running(claimant)
    assert race(playground, rescue(job), rescue(job)) == (1, 0)
    seen = playground.read(job.id)
    assert (seen.crashes, seen.fence, len(playground.attempts(job.id))) == (1, job.fence + 1, 1)


def test_finish_after_rescue_is_stale(playground: Playground, claimant: Claimant) -> None:
    job = playground.running(claimant)
    assert race(playground, rescue(job), finish(claimant, job)) == (1, (claim_of(job),))
    assert playground.read(job.id).state == State.PENDING


def test_rescue_after_finish_takes_nothing(playground: Playground, claimant: Claimant) -> None:
    job = playground.running(claimant)
    assert race(playground, finish(claimant, job), rescue(job)) == ((), 0)
    seen = playground.read(job.id)
    assert (seen.state, seen.crashes, playground.attempts(job.id)) == (State.SUCCESS, 0, [])


def test_rescue_after_cancel_ends_cancelled(playground: Playground, claimant: Claimant) -> None:
    """The rescue began before the cancel was there to see."""
    job = playground.running(claimant)
    assert race(playground, cancel(job), rescue(job)) == (None, 1)
    assert playground.read(job.id).state == State.CANCELLED


def test_release_after_cancel_ends_cancelled(playground: Playground, claimant: Claimant) -> None:
    job = playground.running(claimant)
    assert race(playground, cancel(job), release(job)) == (None, 1)
    assert playground.read(job.id).state == State.CANCELLED


@pytest.mark.parametrize("acts", [(release, rescue), (rescue, release)], ids=["release first", "rescue first"])
def test_release_and_rescue_take_a_job_once(
    playground: Playground, claimant: Claimant, acts: tuple[object, object]
) -> None:
    job = playground.running(claimant)
    first, second = acts
    assert callable(first)
    assert callable(second)
    assert race(playground, first(job), second(job)) == (1, 0)
    seen = playground.read(job.id)
    assert (seen.state, seen.fence) == (State.PENDING, job.fence + 1)
    assert (seen.attempt, seen.crashes) == ((0, 0) if first is release else (1, 1))


def test_release_after_finish_gives_nothing_back(playground: Playground, claimant: Claimant) -> None:
    job = playground.running(claimant)
    assert race(playground, finish(claimant, job), release(job)) == ((), 0)
    assert playground.read(job.id).state == State.SUCCESS


def test_finish_after_release_is_stale(playground: Playground, claimant: Claimant) -> None:
    job = playground.running(claimant)
    assert race(playground, release(job), finish(claimant, job)) == (1, (claim_of(job),))
    assert playground.read(job.id).state == State.PENDING


def test_a_stale_worker_cannot_end_a_job_that_was_retried(playground: Playground, claimant: Claimant) -> None:
    """Its worker was taken for dead, the job failed, a user started it anew, and then the worker's outcome comes."""
    job = playground.running(claimant, max_attempts=1)
    with playground.engine.begin() as connection:
        rescue(job)(connection)
    _, stale = race(playground, retry(job), finish(claimant, job))
    assert stale == (claim_of(job),)
    assert playground.read(job.id).state == State.PENDING
    (again,) = playground.claim(playground.worker())
    assert playground.finish(claimant, end(job, State.FAILED)) == (claim_of(job),)
    seen = playground.read(job.id)
    assert (seen.state, seen.fence) == (State.RUNNING, again.fence)


def test_of_two_explicit_retries_one_is_refused(playground: Playground) -> None:
    job = playground.ended(State.FAILED)
    lane, refusal = race(playground, retry(job), retry(job))
    assert lane is not None
    assert isinstance(refusal, StateConflict)
    assert playground.read(job.id).fence == job.fence + 1


def test_cancel_after_an_explicit_retry_cancels_the_new_run(playground: Playground) -> None:
    job = playground.ended(State.FAILED)
    _, nothing = race(playground, retry(job), cancel(job))
    # The cancel saw a job that had ended: refused, or done to the new run; never lost in between.
    state = playground.read(job.id).state
    assert state == (State.PENDING if isinstance(nothing, StateConflict) else State.CANCELLED)


def test_an_edit_after_the_claim_is_refused(playground: Playground, claimant: Claimant) -> None:
    job_id = playground.add()
    _, refusal = race(
        playground, claim(claimant), lambda connection: transitions.edit(connection, job_id, Edit(queue="other"))
    )
    assert isinstance(refusal, StateConflict)
    assert playground.read(job_id).queue == "default"


def test_a_job_that_is_being_edited_is_claimed_afterwards(playground: Playground, claimant: Claimant) -> None:
    job_id = playground.add()
    edit = Edit(run_at=at(10))
    _, claimed = race(playground, lambda connection: transitions.edit(connection, job_id, edit), claim(claimant))
    assert claimed == []
    assert playground.claim(claimant) == ()
    assert [job.id for job in playground.claim(claimant, now=at(10))] == [job_id]


def test_a_job_that_is_being_claimed_does_not_expire(playground: Playground, claimant: Claimant) -> None:
    job_id = playground.add(expires_at=at(1))
    claimed, expired = race(playground, claim(claimant), lambda connection: transitions.expire(connection, now=at(2)))
    assert (claimed, expired) == ([job_id], 0)


def test_a_job_that_is_being_expired_is_not_claimed(playground: Playground, claimant: Claimant) -> None:
    playground.add(expires_at=at(1))
    race_result = race(playground, lambda connection: transitions.expire(connection, now=at(2)), claim(claimant))
    assert race_result == (1, [])


def test_two_schedulers_expire_a_job_once(playground: Playground) -> None:
    playground.add(expires_at=at(1))

    def expire(connection: object) -> int:
        return transitions.expire(connection, now=at(2))  # type: ignore[arg-type]

    assert race(playground, expire, expire) == (1, 0)


def prune(connection: object) -> int:
    return retention.prune(connection, 10.0, limit=5, now=at(100))  # type: ignore[arg-type]


def test_a_job_that_is_being_started_anew_is_not_pruned(playground: Playground) -> None:
    job = playground.ended(State.SUCCESS)
    with playground.engine.begin() as connection:
        roll_up(connection, now=at(100))
    _, pruned = race(playground, retry(job), prune)
    assert pruned == 0
    assert playground.read(job.id).state == State.PENDING


def test_a_job_that_is_being_pruned_is_gone_for_an_explicit_retry(playground: Playground) -> None:
    job = playground.ended(State.SUCCESS)
    with playground.engine.begin() as connection:
        roll_up(connection, now=at(100))
    pruned, refusal = race(playground, prune, retry(job))
    assert pruned == 1
    assert isinstance(refusal, JobNotFound)


def silent(playground: Playground) -> Claimant:
    claimant = playground.worker()
    playground.sql("UPDATE workers SET heartbeat_at = now() - interval '1 h'")
    return claimant


def bury(connection: object) -> tuple[str, ...]:
    return workers.bury(connection, 20.0)  # type: ignore[arg-type]


def test_a_heartbeat_on_its_way_saves_the_worker(playground: Playground) -> None:
    claimant = silent(playground)
    alive, buried = race(
        playground, lambda connection: workers.beat(connection, claimant.worker_id, draining=False), bury
    )
    assert (alive, buried) == (True, ())


def test_a_heartbeat_that_comes_too_late_tells_the_worker_so(playground: Playground) -> None:
    claimant = silent(playground)
    buried, alive = race(
        playground, bury, lambda connection: workers.beat(connection, claimant.worker_id, draining=False)
    )
    assert (buried, alive) == (("w",), False)


def test_what_a_worker_claims_while_it_is_being_buried_is_rescued(playground: Playground) -> None:
    claimant = silent(playground)
    job_id = playground.add()
    _, claimed = race(playground, bury, claim(claimant))
    assert claimed == [job_id]
    with playground.engine.begin() as connection:
        orphans = [orphan.claim for orphan in workers.orphans(connection)]
        assert transitions.rescue(connection, orphans, "gone", now=NOW).jobs == 1
    assert playground.claim(claimant) == ()
    assert [job.id for job in playground.claim(playground.worker())] == [job_id]

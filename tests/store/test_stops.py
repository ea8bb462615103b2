"""The stages of stopping a task, noted on the job and on the attempt that they belong to, and on no other."""

import itertools
import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from playground import NOW, Playground, claim_of
from steeple.domain.job import Claim, Finish, JobError, Reason
from steeple.domain.states import State
from steeple.store import stops, transitions
from steeple.store.reads import read_attempts
from steeple.store.stops import StopNote, StopReason

TIMED_OUT = JobError("Timeout", "ran past its timeout", Reason.TIMEOUT)


def note(
    playground: Playground,
    claim: Claim,
    reason: StopReason = StopReason.TIMEOUT,
    *,
    killed_ago: float | None = None,
) -> None:
    with playground.engine.begin() as connection:
        stops.note(connection, [StopNote(claim, reason, 3.0, 2.0, killed_ago)])


def on_job(playground: Playground, job_id: UUID) -> dict[str, Any] | None:
    stop = playground.read(job_id).stop
    return None if stop is None else json.loads(stop)


def on_attempts(playground: Playground, job_id: UUID) -> list[Any]:
    with playground.engine.begin() as connection:
        found = read_attempts(connection, job_id)
    return [None if each.stop is None else json.loads(each.stop)["reason"] for each in found]


def put_off(playground: Playground, claimant: Any, job: Any) -> None:
    """It fails, to be tried again at once."""
    playground.finish(claimant, Finish(job.id, job.fence, State.PENDING, error=TIMED_OUT, retry_in=0.0))


def test_stages_are_times_of_the_database_in_the_order_in_which_they_happened(playground: Playground) -> None:
    job = playground.running()
    before = playground.value("SELECT now()")
    note(playground, claim_of(job), killed_ago=1.0)
    stop = on_job(playground, job.id)
    assert stop is not None
    times = [datetime.fromisoformat(stop[stage]) for stage in ("requested_at", "signalled_at", "killed_at")]
    assert stop["reason"] == "timeout"
    assert [after - first for first, after in itertools.pairwise(times)] == [timedelta(seconds=1)] * 2
    assert timedelta() <= times[2] + timedelta(seconds=1) - before < timedelta(seconds=30)
    assert stop["killed_at"].endswith("Z")


def test_of_a_cancellation_the_job_knows_when_it_was_requested(playground: Playground) -> None:
    job = playground.running()
    with playground.engine.begin() as connection:
        transitions.cancel(connection, job.id, now=NOW)
    note(playground, claim_of(job), StopReason.CANCEL)
    stop = on_job(playground, job.id)
    assert stop is not None
    assert (datetime.fromisoformat(stop["requested_at"]), stop["killed_at"]) == (NOW, None)


def test_a_later_stage_replaces_what_was_noted_before(playground: Playground) -> None:
    job = playground.running()
    note(playground, claim_of(job))
    note(playground, claim_of(job), killed_ago=0.0)
    assert (on_job(playground, job.id) or {})["killed_at"] is not None


def test_an_attempt_keeps_what_was_noted_while_it_ran(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    note(playground, claim_of(job))
    put_off(playground, claimant, job)
    (again,) = playground.claim(claimant)
    assert (on_job(playground, job.id), on_attempts(playground, job.id)) == (None, ["timeout", None])
    assert again.fence > job.fence


@pytest.mark.parametrize("is_claimed_again", [False, True])
def test_a_note_that_comes_after_the_attempt_goes_to_that_attempt(
    playground: Playground, *, is_claimed_again: bool
) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    put_off(playground, claimant, job)
    if is_claimed_again:
        playground.claim(claimant)
    note(playground, claim_of(job))
    assert on_attempts(playground, job.id)[0] == "timeout"
    assert (on_job(playground, job.id) is None) == is_claimed_again


def test_a_note_finds_a_job_that_was_cancelled_by_then(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    playground.finish(claimant, Finish(job.id, job.fence, State.CANCELLED))
    note(playground, claim_of(job), StopReason.CANCEL)
    assert ((on_job(playground, job.id) or {})["reason"], on_attempts(playground, job.id)) == ("cancel", ["cancel"])


def test_a_released_job_has_nothing_of_the_claim_that_was_given_back(playground: Playground) -> None:
    job = playground.running()
    with playground.engine.begin() as connection:
        transitions.release(connection, [claim_of(job)])
    note(playground, claim_of(job))
    assert on_job(playground, job.id) is None


def test_an_explicit_retry_begins_with_nothing_noted(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    note(playground, claim_of(job))
    playground.finish(claimant, Finish(job.id, job.fence, State.FAILED, error=TIMED_OUT))
    assert on_job(playground, job.id) is not None
    with playground.engine.begin() as connection:
        transitions.retry(connection, job.id)
    assert (on_job(playground, job.id), on_attempts(playground, job.id)) == (None, ["timeout"])


def test_a_job_that_is_gone_is_passed_over(playground: Playground) -> None:
    job = playground.running()
    playground.sql("DELETE FROM jobs")
    note(playground, claim_of(job))
    assert playground.value("SELECT count(*) FROM jobs") == 0

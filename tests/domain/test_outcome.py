"""What follows from how an attempt ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steeple.domain.job import JobError, Reason
from steeple.domain.outcome import Failed, Outcome, Returned, Stopped, Verdict, decide
from steeple.domain.retry import Retry
from steeple.domain.states import TRANSITIONS, Cause, State

POLICY = Retry(initial=8.0)

errors = st.builds(JobError, type=st.just("E"), message=st.text(), reason=st.sampled_from(Reason))
outcomes = st.one_of(
    st.builds(Returned, st.just("1")),
    st.builds(Stopped),
    st.builds(Failed, errors, st.none() | st.floats(0, 1e6)),
)
numbers = st.integers(1, 50)
uniforms = st.floats(0, 1, exclude_max=True)


def verdict(outcome: Outcome, attempt: int = 1, max_attempts: int = 3) -> Verdict:
    return decide(outcome, attempt=attempt, max_attempts=max_attempts, policy=POLICY, uniform=0.5)


def failed(reason: Reason, retry_in: float | None = None) -> Failed:
    return Failed(JobError("E", "m", reason), retry_in)


def test_a_return_is_a_success_with_its_result() -> None:
    assert verdict(Returned('{"a":1}')) == Verdict(State.SUCCESS, result='{"a":1}')


def test_a_stopped_task_is_cancelled() -> None:
    assert verdict(Stopped()) == Verdict(State.CANCELLED)


def test_a_failure_is_tried_again_after_the_policy_s_delay() -> None:
    outcome = failed(Reason.EXCEPTION)
    assert verdict(outcome, attempt=2) == Verdict(State.PENDING, error=outcome.error, retry_in=8.0)


@pytest.mark.parametrize("seconds", [0.0, 77.0])
def test_a_task_may_choose_its_own_delay(seconds: float) -> None:
    assert verdict(failed(Reason.EXCEPTION, seconds)).retry_in == seconds


@pytest.mark.parametrize("retry_in", [None, 5.0])
def test_the_last_attempt_fails_for_good(retry_in: float | None) -> None:
    outcome = failed(Reason.TIMEOUT, retry_in)
    assert verdict(outcome, attempt=3) == Verdict(State.FAILED, error=outcome.error)


@pytest.mark.parametrize("reason", Reason)
def test_what_a_repeat_would_not_mend_is_not_repeated(reason: Reason) -> None:
    hopeless = {Reason.REJECTED, Reason.BAD_RESULT, Reason.RESULT_TOO_LARGE, Reason.UNKNOWN_TASK}
    assert verdict(failed(reason)).state == (State.FAILED if reason in hopeless else State.PENDING)


@given(outcomes, numbers, numbers, uniforms)
def test_every_verdict_is_a_way_out_of_running(
    outcome: Outcome, attempt: int, max_attempts: int, uniform: float
) -> None:
    found = decide(outcome, attempt=attempt, max_attempts=max_attempts, policy=POLICY, uniform=uniform)
    ways = {step.target for step in TRANSITIONS if step.source == State.RUNNING and step.cause != Cause.RESCUE}
    assert found.state in ways
    assert (found.retry_in is not None) == (found.state == State.PENDING)
    assert found.state != State.PENDING or attempt < max_attempts

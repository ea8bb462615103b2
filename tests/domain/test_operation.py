"""What an action may do to a job in which state, and whom it does not cover."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from steeple.domain.operation import Action, HeldJob, Skip, is_covered, obstacle
from steeple.domain.states import ACTIVE, TERMINAL, Cause, State, sources

MADE = datetime(2026, 11, 24, tzinfo=UTC)
BEFORE, AFTER = MADE - timedelta(seconds=1), MADE + timedelta(seconds=1)


def job(state: State, *, since: datetime = BEFORE) -> HeldJob:
    """A job that is in this state since then, as far as jobs tell."""
    started_at = None if state == State.PENDING else since
    return HeldJob(UUID(int=1), state, started_at, since if state in TERMINAL else None, None)


@pytest.mark.parametrize("state", State)
def test_cancels_and_retries_go_by_the_table_of_transitions(state: State) -> None:
    assert (obstacle(Action.CANCEL, job(state), MADE) is None) == (state in sources(Cause.CANCEL))
    assert (obstacle(Action.RETRY, job(state), MADE) is None) == (state in sources(Cause.RETRY))


def test_a_running_job_is_only_cancelled() -> None:
    found = {action: obstacle(action, job(State.RUNNING), MADE) for action in Action}
    assert found.pop(Action.CANCEL) is None
    assert set(found.values()) == {Skip.IS_RUNNING}


@pytest.mark.parametrize("action", [Action.REPRIORITISE, Action.MOVE])
def test_only_pending_jobs_are_changed(action: Action) -> None:
    found = {state: obstacle(action, job(state), MADE) for state in State}
    assert found[State.PENDING] is None
    assert {found[state] for state in TERMINAL} == {Skip.HAS_ENDED}


def test_every_action_has_its_states_and_every_state_a_reason() -> None:
    for action in Action:
        found = {obstacle(action, job(state), MADE) for state in State}
        assert None in found
        assert found <= {None, Skip.IS_PENDING, Skip.IS_RUNNING, Skip.HAS_ENDED}


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_job_that_ended_since_is_not_started_again_but_may_be_deleted(state: State) -> None:
    assert obstacle(Action.RETRY, job(state, since=AFTER), MADE) is Skip.ENDED_SINCE
    assert obstacle(Action.RETRY, job(state, since=MADE), MADE) is None
    assert obstacle(Action.DELETE, job(state, since=AFTER), MADE) is None


@pytest.mark.parametrize("state", sorted(TERMINAL | {State.RUNNING}))
def test_a_job_that_came_into_a_wanted_state_since_is_not_covered(state: State) -> None:
    assert is_covered(job(state, since=BEFORE), (state,), MADE)
    assert not is_covered(job(state, since=AFTER), (state,), MADE)
    assert is_covered(job(state, since=AFTER), (), MADE)


def test_since_when_a_job_is_pending_is_not_known() -> None:
    assert is_covered(job(State.PENDING, since=AFTER), tuple(ACTIVE), MADE)

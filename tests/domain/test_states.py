"""The transition table: every row, and nothing beside it."""

from itertools import product

import pytest

from steeple.domain.states import ACTIVE, TERMINAL, TRANSITIONS, Cause, State, is_allowed, sources

P, R, S, F, C = State


def test_the_table_has_these_rows_and_no_other() -> None:
    rows = {(step.source, step.target, step.cause, step.raises_fence) for step in TRANSITIONS}
    assert len(rows) == len(TRANSITIONS)
    assert rows == {
        (None, P, Cause.SUBMIT, False),
        (P, R, Cause.CLAIM, True),
        (R, S, Cause.FINISH, False),
        (R, F, Cause.FINISH, False),
        (R, P, Cause.RETRY_LATER, False),
        (R, P, Cause.RESCUE, True),
        (R, P, Cause.RELEASE, True),
        (R, F, Cause.RESCUE, True),
        (P, F, Cause.EXPIRE, True),
        (P, C, Cause.CANCEL, True),
        (R, C, Cause.CANCEL, True),
        (F, P, Cause.RETRY, True),
        (C, P, Cause.RETRY, True),
        (S, P, Cause.RETRY, True),
    }


def test_a_terminal_state_is_left_by_an_explicit_retry_only() -> None:
    assert {step.cause for step in TRANSITIONS if step.source in TERMINAL} == {Cause.RETRY}
    assert sources(Cause.RETRY) == TERMINAL


def test_every_state_is_active_or_terminal() -> None:
    assert frozenset(State) == ACTIVE | TERMINAL
    assert not ACTIVE & TERMINAL


def test_whatever_takes_a_claim_away_raises_the_fence() -> None:
    for step in TRANSITIONS:
        if step.source == State.RUNNING and step.cause not in (Cause.FINISH, Cause.RETRY_LATER):
            assert step.raises_fence, step


@pytest.mark.parametrize(("source", "target"), list(product([None, *State], State)))
def test_a_pair_is_allowed_if_some_row_has_it(source: State | None, target: State) -> None:
    assert is_allowed(source, target) == ((source, target) in {(step.source, step.target) for step in TRANSITIONS})


def test_nothing_becomes_pending_from_nothing_twice() -> None:
    assert sources(Cause.SUBMIT) == frozenset()
    assert sources(Cause.CANCEL) == {State.PENDING, State.RUNNING}

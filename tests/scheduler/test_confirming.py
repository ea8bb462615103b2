"""Children whose submitter did not come to confirm them are confirmed by a scheduler."""

from collections.abc import Callable

import pytest

from playground import Playground, end
from steeple.domain.job import Hold
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.embedded.processes import wait_until
from steeple.scheduler.confirm import confirm_children

PATIENCE = 30.0


def test_what_nobody_confirmed_is(playground: Playground) -> None:
    """As after a crash between the submit and the confirmation."""
    parent = playground.add(now=None)
    child = playground.add_after(parent, is_confirmed=False)
    assert confirm_children(playground.engine) > 0
    assert playground.held_by(child) == Hold.PARENTS


def test_many_are_confirmed_part_by_part(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steeple.store.children.unconfirmed.__kwdefaults__", {"limit": 2})
    monkeypatch.setattr("steeple.scheduler.confirm.CONFIRMED_AT_ONCE", 2)
    parent = playground.add(now=None)
    children = [playground.add_after(parent, is_confirmed=False) for _ in range(3)]
    assert [confirm_children(playground.engine) == 0.0 for _ in range(2)] == [True, False]
    assert {playground.held_by(child) for child in children} == {Hold.PARENTS}


def test_a_child_that_need_not_wait_is_woken_for(
    playground: Playground, start_scheduler: Callable[..., None], waiting: Callable[[Lane], int]
) -> None:
    claimant = playground.worker()
    job = playground.running(claimant, now=None)
    playground.finish(claimant, end(job, State.SUCCESS), now=None)
    child = playground.add_after(job.id, is_confirmed=False)
    start_scheduler()
    assert wait_until(lambda: playground.held_by(child) is None, PATIENCE)
    assert wait_until(lambda: waiting(Lane(None, Priority.DEFAULT)) > 0, PATIENCE)

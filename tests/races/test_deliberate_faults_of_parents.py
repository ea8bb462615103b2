"""Deliberate faults in the functions that settle children, one at a time: each is caught, and what catches it catches
nothing in the functions as they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import pytest
from racing import Act, race
from sqlalchemy import Connection, text

from playground import Playground, end
from steeple.domain.job import ClaimedJob, Hold, ParentFailure
from steeple.domain.states import State
from steeple.store import exchange as exchange_module
from steeple.store.children import confirm
from steeple.store.exchange import Claimant, exchange
from steeple.store.exchange_statement import EXCHANGE


def _finish(claimant: Claimant, job: ClaimedJob, state: State = State.SUCCESS) -> Act:
    return lambda connection: exchange(connection, [end(job, state)], claimant, 0)


def _running(playground: Playground, claimant: Claimant, count: int) -> tuple[ClaimedJob, ...]:
    playground.add_many(count, now=None)
    return playground.claim(claimant, count, now=None)


def the_last_two_end_at_once(playground: Playground) -> None:
    claimant = playground.worker()
    one, other = _running(playground, claimant, 2)
    child = playground.add_after(one.id, other.id)
    with playground.always_by_witness():
        race(playground, _finish(claimant, one), _finish(claimant, other))
    assert playground.held_by(child) is None


def a_parent_ends_during_the_confirmation(playground: Playground) -> None:
    claimant = playground.worker()
    (parent,) = _running(playground, claimant, 1)
    child = playground.add_after(parent.id, is_confirmed=False)

    def confirm_it(connection: Connection) -> object:
        return confirm(connection, [child])

    race(playground, _finish(claimant, parent), confirm_it)
    assert playground.held_by(child) is None


def a_parent_succeeds(playground: Playground) -> None:
    claimant = playground.worker()
    one, other = _running(playground, claimant, 2)
    child = playground.add_after(one.id, other.id)
    playground.sql("UPDATE jobs SET run_at = now() - interval '1 h' WHERE id = :id", id=child)
    playground.finish(claimant, end(one, State.SUCCESS), now=None)
    assert playground.held_by(child) == Hold.PARENTS
    playground.finish(claimant, end(other, State.SUCCESS), now=None)
    assert playground.held_by(child) is None
    assert playground.value("SELECT now() - run_at < interval '10 s' FROM jobs WHERE id = :id", id=child)


def a_parent_fails(playground: Playground) -> None:
    claimant = playground.worker()
    parent, other = _running(playground, claimant, 2)
    cancelled = playground.add_after(parent.id)
    beneath = playground.add_after(cancelled)
    run = playground.add_after(parent.id, other.id, on_parent_failure=ParentFailure.RUN)
    held = playground.add_after(parent.id, on_parent_failure=ParentFailure.HOLD)
    playground.finish(claimant, end(parent, State.FAILED), now=None)
    assert [playground.read(job).state for job in (cancelled, beneath)] == [State.CANCELLED] * 2
    assert playground.read(cancelled).fence == 1
    assert [playground.held_by(job) for job in (run, held)] == [Hold.PARENTS, Hold.PARENT_FAILED]
    assert playground.read(held).state is State.PENDING
    playground.finish(claimant, end(other, State.FAILED), now=None)
    assert playground.held_by(run) is None


def a_parent_is_deleted(playground: Playground) -> None:
    parent = playground.add(now=None)
    child = playground.add_after(parent)
    playground.sql("DELETE FROM jobs WHERE id = :id", id=parent)
    assert playground.read(child).state is State.CANCELLED
    playground.sql("DELETE FROM jobs")
    assert playground.value("SELECT count(*) FROM job_parents") == 0


def a_child_is_cancelled(playground: Playground) -> None:
    """While it waits: it stays so when its parent has ended."""
    claimant = playground.worker()
    (parent,) = _running(playground, claimant, 1)
    child = playground.add_after(parent.id)
    playground.sql("UPDATE jobs SET state = 'CANCELLED', finished_at = now() WHERE id = :id", id=child)
    playground.finish(claimant, end(parent, State.SUCCESS), now=None)
    job = playground.read(child)
    assert (job.state, playground.held_by(child)) == (State.CANCELLED, Hold.PARENTS)


Scenario = Callable[[Playground], None]
SCENARIOS: tuple[Scenario, ...] = (
    the_last_two_end_at_once,
    a_parent_ends_during_the_confirmation,
    a_parent_succeeds,
    a_parent_fails,
    a_parent_is_deleted,
    a_child_is_cancelled,
)


@dataclass(frozen=True)
class Fault:
    """In a function of the database, or in the exchange: ``old`` becomes ``new``, wherever it stands."""

    name: str
    scenario: Scenario
    function: str
    old: str
    new: str


_BY_TEXT = "CAST(state AS text) = 'PENDING' AND held_by = 'parents'"

FAULTS = (
    Fault(
        "a witness that may end meanwhile",
        the_last_two_end_at_once,
        "settle_children",
        "FOR SHARE SKIP LOCKED",
        "",
    ),
    Fault(
        "parents that are not locked for the confirmation",
        a_parent_ends_during_the_confirmation,
        "confirm_children",
        "ORDER BY CAST(state AS text) = 'PENDING', id FOR UPDATE",
        "",
    ),
    Fault(
        "parents that do not know", a_parent_succeeds, "confirm_children", "has_children = true", "has_children = false"
    ),
    Fault(
        "a child let go with its first parent",
        a_parent_fails,
        "settle_children",
        "AND ended_as IS NULL)",
        "AND ended_as IS NULL AND false)",
    ),
    Fault("a child that is never let go", a_parent_succeeds, "settle_children", "WHEN NOT EXISTS", "WHEN EXISTS"),
    Fault(
        "a child with a past of waiting",
        a_parent_succeeds,
        "settle_children",
        "GREATEST(run_at, clock_timestamp())",
        "run_at",
    ),
    Fault("a failure that is overlooked", a_parent_fails, "end_parents", "IF failed IS NOT NULL", "IF false"),
    Fault(
        "a failure that concerns the wrong ones",
        a_parent_fails,
        "settle_children",
        "on_parent_failure <> 'run' AND",
        "on_parent_failure = 'run' AND",
    ),
    Fault(
        "children of the cancelled forgotten",
        a_parent_fails,
        "settle_children",
        "INTO waiting FROM ended",
        "INTO waiting FROM ended WHERE false",
    ),
    Fault("cancelled under the same fence", a_parent_fails, "settle_children", "fence = fence + 1", "fence = fence"),
    Fault(
        "held jobs let go",
        a_parent_fails,
        "settle_children",
        "WHEN verdict = 'hold' THEN 'parent failed'",
        "WHEN false THEN ''",
    ),
    Fault("a deleted parent that succeeded", a_parent_is_deleted, "parent_ended", "'CANCELLED'", "'SUCCESS'"),
    Fault("what was waited for is left behind", a_parent_is_deleted, "child_deleted", "child_id = OLD.id", "false"),
    Fault("a cancelled child let go", a_child_is_cancelled, "settle_children", _BY_TEXT, "held_by = 'parents'"),
    Fault(
        "an exchange that settles nobody",
        a_parent_succeeds,
        "",
        "FROM held, locked WHERE has_children AND target <> 'PENDING'",
        "FROM held WHERE false",
    ),
)


@contextmanager
def _in_the_exchange(fault: Fault) -> Iterator[None]:
    statement = str(EXCHANGE)
    assert fault.old in statement, f"the exchange has no {fault.old!r}"
    with mock.patch.object(exchange_module, "EXCHANGE", text(statement.replace(fault.old, fault.new))):
        yield


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__.replace("_", " "))
def test_nothing_is_caught_without_a_fault(playground: Playground, scenario: Scenario) -> None:
    scenario(playground)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_is_caught(playground: Playground, fault: Fault) -> None:
    applied = playground.rewritten(fault.function, fault.old, fault.new) if fault.function else _in_the_exchange(fault)
    with applied, pytest.raises(AssertionError):
        fault.scenario(playground)

"""Parents and children that meet: ends at the same moment, a confirmation meanwhile, a cancel."""

import random
from contextlib import nullcontext
from uuid import UUID

import pytest
from racing import Act, Racer, race, together
from sqlalchemy import Connection, text
from uuid_utils.compat import uuid7

from playground import Playground, end
from steeple.domain.job import ClaimedJob, Hold, NewJob, ParentFailure
from steeple.domain.states import State
from steeple.embedded.processes import wait_until
from steeple.store import transitions
from steeple.store.children import confirm, insert_some
from steeple.store.exchange import Claimant, exchange

ROUNDS = 10


def finish(claimant: Claimant, *jobs: ClaimedJob, state: State = State.SUCCESS) -> Act:
    return lambda connection: exchange(connection, [end(job, state) for job in jobs], claimant, 0)


def cancel(job_id: UUID) -> Act:
    return lambda connection: transitions.cancel(connection, job_id)


def running(playground: Playground, claimant: Claimant, count: int) -> tuple[ClaimedJob, ...]:
    """Jobs that have just been claimed, in the order of their ids."""
    playground.add_many(count, now=None)
    jobs = playground.claim(claimant, 128, now=None)
    assert len(jobs) == count
    return tuple(sorted(jobs, key=lambda job: job.id))


@pytest.mark.parametrize("is_by_witness", [True, False])
def test_the_last_two_parents_end_at_the_same_moment(playground: Playground, is_by_witness: bool) -> None:
    """Neither sees the other's end, and yet the child is let go."""
    claimant = playground.worker()
    one, other = running(playground, claimant, 2)
    child = playground.add_after(one.id, other.id)
    with playground.always_by_witness() if is_by_witness else nullcontext():
        race(playground, finish(claimant, one), finish(claimant, other))
    assert playground.held_by(child) is None


def test_a_parent_that_is_left_is_found_whoever_ends_beside_it(playground: Playground) -> None:
    """Those that end leave the child alone while a third is under way, and do not wait for each other."""
    claimant = playground.worker()
    jobs = running(playground, claimant, 3)
    child = playground.add_after(*(job.id for job in jobs))
    for first, second, third in (jobs, jobs[::-1], (jobs[1], jobs[2], jobs[0])):
        playground.sql("UPDATE job_parents SET ended_as = NULL")
        playground.sql("UPDATE jobs SET has_children = true, state = 'RUNNING', fence = 1 WHERE queue <> 'c'")
        playground.sql("UPDATE jobs SET state = 'PENDING', fence = 0, held_by = 'parents' WHERE id = :id", id=child)
        with playground.always_by_witness():
            race(playground, finish(claimant, first), finish(claimant, second))
        assert playground.held_by(child) == Hold.PARENTS
        playground.finish(claimant, end(third, State.SUCCESS), now=None)
        assert playground.held_by(child) is None


@pytest.mark.parametrize("state", [State.SUCCESS, State.FAILED])
@pytest.mark.parametrize("is_confirmed_first", [True, False])
def test_a_child_is_confirmed_while_its_parent_ends(
    playground: Playground, state: State, is_confirmed_first: bool
) -> None:
    claimant = playground.worker()
    (parent,) = running(playground, claimant, 1)
    child = playground.add_after(parent.id, is_confirmed=False)
    acts: list[Act] = [lambda connection: confirm(connection, [child]), finish(claimant, parent, state=state)]
    race(playground, *(acts if is_confirmed_first else acts[::-1]))
    expected = State.PENDING if state == State.SUCCESS else State.CANCELLED
    assert (playground.read(child).state, playground.held_by(child)) == (expected, None)


@pytest.mark.parametrize("is_cancelled_first", [True, False])
def test_a_child_is_cancelled_while_it_is_let_go(playground: Playground, is_cancelled_first: bool) -> None:
    claimant = playground.worker()
    (parent,) = running(playground, claimant, 1)
    child = playground.add_after(parent.id)
    acts = [cancel(child), finish(claimant, parent)]
    race(playground, *(acts if is_cancelled_first else acts[::-1]))
    assert (playground.read(child).state, playground.held_by(child)) == (State.CANCELLED, None)


def test_one_parent_fails_while_the_last_other_succeeds(playground: Playground) -> None:
    claimant = playground.worker()
    for acts in (("good", "bad"), ("bad", "good")):
        one, other = running(playground, claimant, 2)
        child = playground.add_after(one.id, other.id)
        ends = {"good": finish(claimant, one), "bad": finish(claimant, other, state=State.FAILED)}
        race(playground, *(ends[name] for name in acts))
        assert playground.read(child).state == State.CANCELLED


def test_a_submit_does_not_hold_up_those_who_end_its_parents(playground: Playground) -> None:
    """A caller's transaction may stay open for long."""
    claimant = playground.worker()
    (parent,) = running(playground, claimant, 1)
    with playground.engine.begin() as connection:
        child = _submit(connection, parent.id)
        connection.execute(text("SELECT 1"))
        playground.finish(claimant, end(parent, State.SUCCESS), now=None)
    playground.confirm(child)
    assert playground.held_by(child) is None


def _submit(connection: Connection, parent: UUID) -> UUID:
    job = NewJob(uuid7(), "t", "{}", after=(parent,))
    insert_some(connection, [job])
    return job.id


def test_batches_with_the_same_children_do_not_lock_each_other_out(playground: Playground) -> None:
    claimant = playground.worker()
    for number in range(ROUNDS):
        jobs = running(playground, claimant, 40)
        chance = random.Random(number)
        children = [playground.add_after(*(job.id for job in chance.sample(jobs, 6))) for _ in range(30)]
        halves = jobs[::2], jobs[1::2]
        results = together(playground, *(finish(claimant, *half) for half in halves))
        assert not [result for result in results if isinstance(result, Exception)]
        assert {playground.held_by(child) for child in children} == {None}
        playground.sql("DELETE FROM jobs")


def test_a_confirmation_locks_in_the_order_of_the_ids(playground: Playground) -> None:
    """It waits for the first of the parents while it holds none of the others."""
    claimant = playground.worker()
    jobs = running(playground, claimant, 3)
    child = playground.add_after(*(job.id for job in jobs), is_confirmed=False)
    lock = text("SELECT FROM jobs WHERE id = :id FOR UPDATE NOWAIT")
    with playground.engine.begin() as connection:
        connection.execute(lock, {"id": jobs[0].id})
        racer = Racer(playground, lambda connection: confirm(connection, [child]))
        racer.start()
        assert wait_until(racer.is_held_up, 30)
        for job_id in (jobs[1].id, jobs[2].id, child):
            connection.execute(lock, {"id": job_id})
    racer.join(30)
    assert not isinstance(racer.result, Exception)


def test_two_confirm_the_same_child(playground: Playground) -> None:
    claimant = playground.worker()
    (parent,) = running(playground, claimant, 1)
    playground.finish(claimant, end(parent, State.SUCCESS), now=None)
    child = playground.add_after(parent.id, is_confirmed=False, on_parent_failure=ParentFailure.RUN)
    first, second = race(playground, *[lambda connection: confirm(connection, [child])] * 2)
    assert (len(first), second) == (1, {})

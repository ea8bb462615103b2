"""Jobs that wait for others: when they are let go, and what a parent's end without success does to them."""

from collections.abc import Callable
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from playground import Playground, claim_of, end
from steeple.domain.job import ClaimedJob, Hold, NewJob, ParentFailure
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.states import State
from steeple.errors import InvalidJob
from steeple.store import transitions
from steeple.store.children import Awaited, confirm, insert_some, read_awaited, unconfirmed
from steeple.store.exchange import Claimant
from steeple.store.inbox_answers import Accepted
from steeple.store.lanes import Work, find_work
from steeple.store.queues import queue_statistics

FAILURES = [State.FAILED, State.CANCELLED]


def claimed(playground: Playground, claimant: Claimant, job_id: UUID) -> ClaimedJob:
    """That job and no other: it is given a queue of its own."""
    playground.sql("UPDATE jobs SET queue = :queue WHERE id = :id", queue=str(job_id), id=job_id)
    bound = Claimant(claimant.worker_id, 0, Binding(queues=(str(job_id),)), 3600.0)
    (job,) = playground.claim(bound, now=None)
    assert job.id == job_id
    return job


def ended(playground: Playground, claimant: Claimant, job_id: UUID, state: State) -> None:
    playground.finish(claimant, end(claimed(playground, claimant, job_id), state), now=None)


def state_of(playground: Playground, job_id: UUID) -> tuple[State, str | None]:
    return playground.read(job_id).state, playground.held_by(job_id)


def test_a_child_is_no_candidate_before_its_last_parent_has_ended(playground: Playground) -> None:
    claimant = playground.worker()
    one, other = playground.add_many(2, now=None)
    child = playground.add_after(one, other, queue="children")
    bound = Claimant(claimant.worker_id, 0, Binding(queues=("children",)), 3600.0)
    ended(playground, claimant, one, State.SUCCESS)
    assert playground.claim(bound, now=None) == ()
    assert state_of(playground, child) == (State.PENDING, Hold.PARENTS)
    ended(playground, claimant, other, State.SUCCESS)
    assert [job.id for job in playground.claim(bound, now=None)] == [child]


def test_a_child_that_is_let_go_is_due_from_then_on(playground: Playground) -> None:
    """And not since it was submitted: it has not waited for a worker."""
    claimant = playground.worker()
    parent = playground.add(now=None)
    child = playground.add_after(parent)
    playground.sql("UPDATE jobs SET run_at = now() - interval '1 h' WHERE id = :id", id=child)
    ended(playground, claimant, parent, State.SUCCESS)
    assert playground.value("SELECT now() - run_at < interval '10 s' FROM jobs WHERE id = :id", id=child)


def test_whom_a_child_still_waits_for_can_be_told(playground: Playground) -> None:
    claimant = playground.worker()
    parents = playground.add_many(4, now=None)
    child = playground.add_after(*parents)
    ended(playground, claimant, parents[0], State.SUCCESS)
    with playground.engine.begin() as connection:
        assert read_awaited(connection, child, limit=2) == Awaited(3, tuple(parents[1:3]))
        assert read_awaited(connection, parents[1]) == Awaited(0, ())


def test_what_is_held_wakes_nobody_and_counts_as_pending(playground: Playground) -> None:
    parent = playground.running(now=None)
    playground.add_after(parent.id, queue="children")
    with playground.engine.begin() as connection:
        assert find_work(connection) == Work({}, None)
        (queue,) = [each for each in queue_statistics(connection) if each.name == "children"]
    assert (queue.counts[State.PENDING], queue.oldest_wait) == (1, None)


def test_a_child_with_a_time_of_its_own_waits_for_that_too(playground: Playground) -> None:
    claimant = playground.worker()
    parent = playground.add(now=None)
    child = playground.add_after(parent, delay=3600.0)
    ended(playground, claimant, parent, State.SUCCESS)
    assert state_of(playground, child) == (State.PENDING, None)
    assert playground.value("SELECT run_at > now() + interval '59 min' FROM jobs WHERE id = :id", id=child)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_parent_without_success_cancels_its_children_and_theirs(playground: Playground, failure: State) -> None:
    claimant = playground.worker()
    parent, other = playground.add_many(2, now=None)
    child = playground.add_after(parent, other)
    grandchild = playground.add_after(child)
    ended(playground, claimant, parent, failure)
    for job_id, by in ((child, parent), (grandchild, child)):
        job = playground.read(job_id)
        assert (job.state, job.fence, job.cancel_requested_at) == (State.CANCELLED, 1, None)
        assert job.finished_at is not None
        assert '"parent_failed"' in (job.error or "")
        assert str(by) in (job.error or "")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_child_that_runs_all_the_same_waits_for_the_last(playground: Playground, failure: State) -> None:
    claimant = playground.worker()
    parent, other = playground.add_many(2, now=None)
    child = playground.add_after(parent, other, on_parent_failure=ParentFailure.RUN)
    ended(playground, claimant, parent, failure)
    assert state_of(playground, child) == (State.PENDING, Hold.PARENTS)
    ended(playground, claimant, other, failure)
    assert state_of(playground, child) == (State.PENDING, None)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_child_that_is_to_be_held_waits_for_somebody(playground: Playground, failure: State) -> None:
    claimant = playground.worker()
    parent, other = playground.add_many(2, now=None)
    child = playground.add_after(parent, other, on_parent_failure=ParentFailure.HOLD)
    ended(playground, claimant, parent, failure)
    assert state_of(playground, child) == (State.PENDING, Hold.PARENT_FAILED)
    ended(playground, claimant, other, State.SUCCESS)
    assert state_of(playground, child) == (State.PENDING, Hold.PARENT_FAILED)


def test_a_parent_that_is_tried_again_has_not_ended(playground: Playground) -> None:
    claimant = playground.worker()
    parent = playground.add(now=None)
    child = playground.add_after(parent)
    ended(playground, claimant, parent, State.PENDING)
    assert state_of(playground, child) == (State.PENDING, Hold.PARENTS)


def _cancel(playground: Playground, claimant: Claimant, parent: UUID) -> None:
    with playground.engine.begin() as connection:
        transitions.cancel(connection, parent)


def _rescue(playground: Playground, claimant: Claimant, parent: UUID) -> None:
    playground.sql("UPDATE jobs SET crashes = 2 WHERE id = :id", id=parent)
    job = claimed(playground, claimant, parent)
    with playground.engine.begin() as connection:
        transitions.rescue(connection, [claim_of(job)], "gone")


def _release_cancelled(playground: Playground, claimant: Claimant, parent: UUID) -> None:
    job = claimed(playground, claimant, parent)
    _cancel(playground, claimant, parent)
    with playground.engine.begin() as connection:
        transitions.release(connection, [claim_of(job)])


def _expire(playground: Playground, claimant: Claimant, parent: UUID) -> None:
    playground.sql("UPDATE jobs SET expires_at = now() - interval '1 s' WHERE id = :id", id=parent)
    with playground.engine.begin() as connection:
        assert transitions.expire(connection) == 1


def _delete(playground: Playground, claimant: Claimant, parent: UUID) -> None:
    playground.sql("DELETE FROM jobs WHERE id = :id", id=parent)


@pytest.mark.parametrize("act", [_cancel, _rescue, _release_cancelled, _expire, _delete])
def test_whatever_ends_a_parent_settles_its_children(
    playground: Playground, act: Callable[[Playground, Claimant, UUID], None]
) -> None:
    claimant = playground.worker()
    parent = playground.add(now=None)
    cancelled = playground.add_after(parent)
    run = playground.add_after(parent, on_parent_failure=ParentFailure.RUN)
    act(playground, claimant, parent)
    assert state_of(playground, cancelled) == (State.CANCELLED, None)
    assert state_of(playground, run) == (State.PENDING, None)


def test_a_child_that_is_not_confirmed_is_no_candidate(playground: Playground) -> None:
    """Its submitter died after the commit; whoever comes by confirms it."""
    claimant = playground.worker()
    parent = playground.add(now=None)
    child = playground.add_after(parent, is_confirmed=False)
    ended(playground, claimant, parent, State.SUCCESS)
    assert state_of(playground, child) == (State.PENDING, Hold.UNCONFIRMED)
    with playground.engine.begin() as connection:
        assert unconfirmed(connection) == [child]
        assert confirm(connection, unconfirmed(connection)) == {Lane("default", Priority.DEFAULT): 1}
        assert unconfirmed(connection) == []
    assert state_of(playground, child) == (State.PENDING, None)
    assert playground.confirm(child) == {}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (ParentFailure.CANCEL, (State.CANCELLED, None)),
        (ParentFailure.RUN, (State.PENDING, None)),
        (ParentFailure.HOLD, (State.PENDING, Hold.PARENT_FAILED)),
    ],
)
def test_a_parent_that_failed_before_its_child_came_counts(
    playground: Playground, policy: ParentFailure, expected: tuple[State, str | None]
) -> None:
    claimant = playground.worker()
    parent = playground.add(now=None)
    ended(playground, claimant, parent, State.FAILED)
    child = playground.add_after(parent, on_parent_failure=policy)
    assert state_of(playground, child) == expected


def test_a_parent_that_is_gone_by_the_confirmation_counts_as_cancelled(playground: Playground) -> None:
    parent = playground.ended(State.SUCCESS, now=None).id
    child = playground.add_after(parent, is_confirmed=False)
    playground.sql("DELETE FROM jobs WHERE id = :id", id=parent)
    playground.confirm(child)
    assert state_of(playground, child) == (State.CANCELLED, None)


def test_a_child_that_is_cancelled_while_it_waits_stays_so(playground: Playground) -> None:
    claimant = playground.worker()
    parent = playground.add(now=None)
    child = playground.add_after(parent)
    grandchild = playground.add_after(child)
    _cancel(playground, claimant, child)
    assert state_of(playground, grandchild) == (State.CANCELLED, None)
    ended(playground, claimant, parent, State.SUCCESS)
    assert state_of(playground, child) == (State.CANCELLED, None)


def test_an_explicit_retry_runs_a_child_whatever_its_parents_do(playground: Playground) -> None:
    claimant = playground.worker()
    parent = playground.add(now=None)
    child = playground.add_after(parent)
    _cancel(playground, claimant, child)
    with playground.engine.begin() as connection:
        transitions.retry(connection, child)
    assert state_of(playground, child) == (State.PENDING, None)


def test_an_explicit_retry_of_a_parent_changes_nothing_for_children_that_were_settled(playground: Playground) -> None:
    claimant = playground.worker()
    parent = playground.add(now=None)
    child = playground.add_after(parent)
    ended(playground, claimant, parent, State.SUCCESS)
    with playground.engine.begin() as connection:
        transitions.retry(connection, parent)
    ended(playground, claimant, parent, State.FAILED)
    assert state_of(playground, child) == (State.PENDING, None)


def test_a_chain_of_thousands_is_cancelled_in_one_go(playground: Playground) -> None:
    """Deeper than triggers may call each other."""
    claimant = playground.worker()
    jobs = [NewJob(uuid7(), "t", "{}")]
    for _ in range(3000):
        jobs.append(NewJob(uuid7(), "t", "{}", after=(jobs[-1].id,)))
    with playground.engine.begin() as connection:
        insert_some(connection, jobs)
    playground.confirm(*(job.id for job in jobs))
    ended(playground, claimant, jobs[0].id, State.FAILED)
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'CANCELLED'") == 3000


def test_rows_go_with_the_child(playground: Playground) -> None:
    parent = playground.add(now=None)
    child = playground.add_after(parent)
    playground.sql("DELETE FROM jobs WHERE id = :id", id=child)
    assert playground.value("SELECT count(*) FROM job_parents") == 0


def insert(playground: Playground, *jobs: NewJob) -> list[object]:
    with playground.engine.begin() as connection:
        return list(insert_some(connection, jobs))


def test_a_parent_that_does_not_exist_is_refused_by_its_place(playground: Playground) -> None:
    parent = playground.add(now=None)
    (answer,) = insert(playground, NewJob(uuid7(), "t", "{}", after=(parent, uuid7())))
    assert isinstance(answer, InvalidJob)
    assert [error.pointer for error in answer.errors] == ["/after/1"]
    assert playground.value("SELECT count(*) FROM jobs") == 1


def test_jobs_of_a_batch_may_wait_for_each_other_in_any_order(playground: Playground) -> None:
    first, second = uuid7(), uuid7()
    answers = insert(playground, NewJob(second, "t", "{}", after=(first,)), NewJob(first, "t", "{}"))
    assert all(isinstance(answer, Accepted) for answer in answers)
    playground.confirm(first, second)
    assert state_of(playground, second) == (State.PENDING, Hold.PARENTS)


def test_jobs_that_wait_for_each_other_in_a_circle_are_refused(playground: Playground) -> None:
    one, other = uuid7(), uuid7()
    beneath = uuid7()
    answers = insert(
        playground,
        NewJob(one, "t", "{}", after=(other,)),
        NewJob(other, "t", "{}", after=(one,)),
        NewJob(beneath, "t", "{}", after=(one,)),
        NewJob(uuid7(), "t", "{}"),
    )
    assert [isinstance(answer, InvalidJob) for answer in answers] == [True, True, True, False]
    assert playground.value("SELECT count(*) FROM jobs") == 1


def test_what_waits_for_a_refused_job_is_refused_too(playground: Playground) -> None:
    playground.add(unique_key="k", now=None)
    parent, child = uuid7(), uuid7()
    answers = insert(
        playground,
        NewJob(parent, "t", "{}", unique_key="k"),
        NewJob(child, "t", "{}", after=(parent,)),
        NewJob(uuid7(), "t", "{}", after=(child,)),
    )
    assert [type(answer).__name__ for answer in answers] == ["UniqueKeyHeld", "InvalidJob", "InvalidJob"]
    assert playground.value("SELECT count(*) FROM jobs") == 1

"""An operation that meets claims, cancels, submits and other operations on the same jobs."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from racing import Act, race, together
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from uuid_utils.compat import uuid7

from operating import CANCEL, DELETE, OF_TASK, RETRY, Operating
from playground import Playground, end
from steeple.domain.job import NewJob
from steeple.domain.operation import Action, OperationState, Order
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.errors import StateConflict
from steeple.store import operations, transitions
from steeple.store.exchange import exchange
from steeple.store.inbox import insert_jobs
from steeple.store.inbox_answers import Accepted
from steeple.store.listing import JobFilter
from steeple.store.operations import OperationView
from steeple.store.rollup import roll_up

ROUNDS = 10


def make(playground: Playground, order: Order, wanted: JobFilter = OF_TASK) -> UUID:
    return Operating(playground).made(order, wanted)


def advance(operation_id: UUID, limit: int = 100) -> Act:
    return lambda connection: operations.advance(connection, operation_id, limit=limit)


def run(playground: Playground, *operation_ids: UUID) -> list[OperationView]:
    return [Operating(playground).finish(operation_id) for operation_id in operation_ids]


def test_a_job_that_is_being_claimed_is_told_to_stop(playground: Playground) -> None:
    job_id, claimant = playground.add(now=None), playground.worker()
    operation_id = make(playground, CANCEL)
    race(playground, lambda connection: exchange(connection, [], claimant, 1), advance(operation_id))
    seen = playground.read(job_id)
    assert (seen.state, seen.cancel_requested_at is not None) == (State.RUNNING, True)
    assert run(playground, operation_id)[0].done == 1


def test_a_job_that_is_being_claimed_is_left_alone_where_only_pending_ones_are_wanted(playground: Playground) -> None:
    job_id, claimant = playground.add(now=None), playground.worker()
    operation_id = make(playground, CANCEL, JobFilter(states=(State.PENDING,)))
    race(playground, lambda connection: exchange(connection, [], claimant, 1), advance(operation_id))
    seen = playground.read(job_id)
    assert (seen.state, seen.cancel_requested_at) == (State.RUNNING, None)
    (found,) = run(playground, operation_id)
    assert (found.done, found.skipped, found.total) == (0, 1, 1)


def test_a_claim_passes_by_the_jobs_of_a_batch(playground: Playground) -> None:
    playground.add(now=None)
    claimant = playground.worker()
    _, found = race(
        playground, advance(make(playground, CANCEL)), lambda connection: exchange(connection, [], claimant, 1)
    )
    assert found.jobs == ()


def test_a_single_cancel_and_an_operation_raise_the_fence_once(playground: Playground) -> None:
    job_id = playground.add(now=None)
    operation_id = make(playground, CANCEL)
    race(playground, lambda connection: transitions.cancel(connection, job_id), advance(operation_id))
    seen = playground.read(job_id)
    assert (seen.state, seen.fence) == (State.CANCELLED, 1)
    (found,) = run(playground, operation_id)
    assert (found.done, found.skipped) == (0, 1)


def test_a_single_cancel_that_comes_after_a_batch_is_refused(playground: Playground) -> None:
    job_id = playground.add(now=None)
    _, refusal = race(
        playground,
        advance(make(playground, CANCEL)),
        lambda connection: transitions.cancel(connection, job_id),
    )
    assert isinstance(refusal, StateConflict)
    assert playground.read(job_id).fence == 1


def test_a_finish_that_comes_first_leaves_nothing_to_cancel(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant, now=None)
    operation_id = make(playground, CANCEL)
    race(
        playground,
        lambda connection: exchange(connection, [end(job, State.SUCCESS)], claimant, 0),
        advance(operation_id),
    )
    assert playground.read(job.id).state == State.SUCCESS
    (found,) = run(playground, operation_id)
    assert (found.done, found.skipped) == (0, 1)


def test_an_operation_is_worked_off_by_one_at_a_time(playground: Playground) -> None:
    playground.add_many(4, now=None)
    operation_id = make(playground, CANCEL)
    first, second = race(playground, advance(operation_id, 2), advance(operation_id, 2))
    assert (first.looked_at, second) == (2, None)


@pytest.mark.parametrize("orders", [(CANCEL, CANCEL), (CANCEL, RETRY), (RETRY, DELETE), (DELETE, CANCEL)])
def test_two_operations_on_the_same_jobs_do_not_lock_each_other_out(
    playground: Playground, orders: tuple[Order, Order]
) -> None:
    for _ in range(ROUNDS):
        playground.add_many(10, now=None)
        playground.sql("UPDATE jobs SET state = 'FAILED', finished_at = now() WHERE random() < 0.5")
        made = [make(playground, order) for order in orders]
        answers = together(playground, *(advance(operation_id) for operation_id in made))
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        for found in run(playground, *made):
            assert found.total == found.done + found.skipped


def test_cancelled_jobs_are_cancelled_by_one_of_two_operations(playground: Playground) -> None:
    playground.add_many(20, now=None)
    made = [make(playground, CANCEL) for _ in range(2)]
    together(playground, *(advance(operation_id) for operation_id in made))
    assert sum(found.done for found in run(playground, *made)) == 20
    assert {row.fence for row in playground.sql("SELECT fence FROM jobs")} == {1}


def test_an_abort_waits_for_the_batch_that_is_under_way_and_ends_it_there(playground: Playground) -> None:
    playground.add_many(4, now=None)
    operation_id = make(playground, CANCEL)
    _, aborted = race(
        playground,
        advance(operation_id, 2),
        lambda connection: operations.abort_operation(connection, operation_id),
    )
    assert (aborted.state, aborted.done) == (OperationState.ABORTED, 2)
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'PENDING'") == 2


def test_a_batch_that_is_cut_off_is_done_again_from_where_it_began(playground: Playground) -> None:
    jobs = [playground.ended(State.SUCCESS, now=None, queue=f"q{number}").id for number in range(3)]
    operation_id = make(playground, RETRY)
    with playground.transaction() as cut_off:
        advance(operation_id, 2)(cut_off)
        cut_off.rollback()
    assert Operating(playground).read(operation_id).state == OperationState.PENDING
    (found,) = run(playground, operation_id)
    assert found.done == 3
    assert {playground.read(job_id).fence for job_id in jobs} == {2}
    assert playground.value("SELECT count(*) FROM attempts") == 3


@pytest.mark.parametrize("looks", [3, 0], ids=["looked at again", "one by one"])
def test_a_unique_key_that_is_being_taken_is_waited_for_and_the_others_are_started(
    playground: Playground, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """The batch sees no holder, and meets it when it writes."""
    monkeypatch.setattr("steeple.store.bulk._LOOKS", looks)
    ended = [playground.add(now=None, unique_key=key) for key in ("k", "l")]
    playground.sql("UPDATE jobs SET state = 'CANCELLED', finished_at = now()")
    operation_id = make(playground, RETRY)

    def submit(connection: Connection) -> object:
        return insert_jobs(connection, [NewJob(uuid7(), "other", "{}", unique_key="k")])[0]

    answer, progress = race(playground, submit, advance(operation_id))
    assert isinstance(answer, Accepted)
    assert (progress.operation.done, progress.operation.skipped) == (1, 1)
    assert str(answer.id) in progress.operation.skips
    assert [playground.read(job_id).state for job_id in ended] == [State.CANCELLED, State.PENDING]


def test_a_job_that_somebody_holds_for_long_holds_up_the_batch_no_longer_than_its_limit(
    playground: Playground,
) -> None:
    job_id = playground.add(now=None)
    operation_id = make(playground, CANCEL)
    with playground.transaction() as holder:
        holder.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": job_id})
        with playground.engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(DBAPIError, match="lock timeout"):
                advance(operation_id)(connection)
    assert run(playground, operation_id)[0].done == 1


def test_deletes_and_a_roll_up_count_each_job_once(playground: Playground) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    for round_number in range(ROUNDS):
        playground.add_many(20, now=None)
        playground.sql("UPDATE jobs SET state = 'FAILED', finished_at = now() WHERE state = 'PENDING'")
        operation_id = make(playground, DELETE)
        answers = together(
            playground,
            advance(operation_id, 10),
            lambda connection: roll_up(connection, slice_size=5, now=later),
        )
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        run(playground, operation_id)
        assert playground.value("SELECT CAST(sum(jobs) AS int) FROM finished_totals") == 20 * (round_number + 1)
        assert playground.value("SELECT COALESCE(sum(jobs), 0) FROM finished_minutes") == 0
        playground.sql("UPDATE watermarks SET at = 'epoch'")


@pytest.mark.parametrize("is_counted_first", [True, False])
def test_a_job_that_is_being_counted_is_not_counted_by_its_delete(
    playground: Playground, *, is_counted_first: bool
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    playground.add_many(3, now=None)
    playground.sql("UPDATE jobs SET state = 'FAILED', finished_at = now() WHERE state = 'PENDING'")
    acts = [lambda connection: roll_up(connection, now=later), advance(make(playground, DELETE))]
    race(playground, *(acts if is_counted_first else reversed(acts)))
    assert playground.value("SELECT CAST(sum(jobs) AS int) FROM finished_totals") == 3
    assert playground.value("SELECT COALESCE(sum(jobs), 0) FROM finished_minutes") == 0


def test_moved_jobs_are_not_claimed_from_their_old_queue(playground: Playground) -> None:
    playground.add(now=None, queue="old", priority=Priority.HIGH)
    claimant = playground.worker()
    operation_id = make(playground, Order(Action.MOVE, queue="new"), JobFilter(queues=("old",)))
    race(playground, advance(operation_id), lambda connection: exchange(connection, [], claimant, 1))
    (job,) = playground.claim(claimant, now=None)
    assert job.queue == "new"

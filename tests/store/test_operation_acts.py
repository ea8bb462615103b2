"""What operations do to jobs in which state, whom they leave alone, and what they leave counted."""

from typing import Any
from uuid import UUID

import pytest

from operating import CANCEL, DELETE, LATER, MOVE, RAISE, RETRY, Operating, reasons, skips, today
from playground import NOW, Attempt, Playground
from steeple.domain.operation import Action, OperationState, Order
from steeple.domain.priority import Priority
from steeple.domain.states import ACTIVE, TERMINAL, State
from steeple.store import transitions
from steeple.store.listing import JobFilter
from steeple.store.rollup import roll_up


@pytest.fixture
def operating(playground: Playground) -> Operating:
    return Operating(playground, LATER)


def in_state(playground: Playground, state: State) -> UUID:
    if state is State.PENDING:
        return playground.add(queue="waiting")
    if state is State.RUNNING:
        return playground.running(queue="running").id
    return playground.ended(state, queue=state.value).id


@pytest.mark.parametrize("order", [CANCEL, RETRY, DELETE, RAISE, MOVE], ids=lambda order: order.action.value)
@pytest.mark.parametrize("state", State)
def test_an_action_is_done_to_jobs_in_its_states_only(
    playground: Playground, operating: Operating, order: Order, state: State
) -> None:
    job_id = in_state(playground, state)
    fence = playground.read(job_id).fence
    found = operating.run(order)
    is_done = (
        state
        in {
            Action.CANCEL: ACTIVE,
            Action.RETRY: TERMINAL,
            Action.DELETE: frozenset(State) - {State.RUNNING},
            Action.REPRIORITISE: {State.PENDING},
            Action.MOVE: {State.PENDING},
        }[order.action]
    )
    assert (found.state, found.done, found.skipped, found.total) == (OperationState.DONE, is_done, not is_done, 1)
    left = playground.sql("SELECT state, fence, priority, queue, cancel_requested_at FROM jobs")
    if not is_done:
        words = {State.PENDING: "is pending", State.RUNNING: "is running"}
        assert reasons(found) == {words.get(state, "has ended"): 1}
        assert (left[0].state, left[0].fence, left[0].priority) == (state, fence, Priority.DEFAULT.rank)
        return
    match order.action:
        case Action.CANCEL if state is State.PENDING:
            assert (left[0].state, left[0].fence) == ("CANCELLED", fence + 1)
        case Action.CANCEL:
            assert (left[0].state, left[0].fence, left[0].cancel_requested_at) == ("RUNNING", fence, LATER)
        case Action.RETRY:
            assert (left[0].state, left[0].fence) == ("PENDING", fence + 1)
        case Action.DELETE:
            assert left == []
        case Action.REPRIORITISE:
            assert left[0].priority == Priority.HIGH.rank
        case Action.MOVE:
            assert left[0].queue == "elsewhere"


def test_a_job_that_failed_after_it_was_made_is_not_covered_by_a_retry_of_failed_jobs(
    playground: Playground, operating: Operating
) -> None:
    failed = playground.ended(State.FAILED).id
    operation_id = operating.make(RETRY, JobFilter(states=(State.FAILED,)), now=today(1)).operation.id
    late = playground.ended(State.FAILED, now=today(2), queue="late")
    playground.sql("UPDATE jobs SET created_at = :made WHERE id = :id", made=NOW, id=late.id)
    found = operating.finish(operation_id)
    assert (found.done, found.skipped, found.total) == (1, 0, 1)
    assert [playground.read(job_id).state for job_id in (failed, late.id)] == [State.PENDING, State.FAILED]


def test_a_job_that_ended_again_meanwhile_is_not_started_twice(playground: Playground, operating: Operating) -> None:
    job = playground.ended(State.SUCCESS)
    operation_id = operating.made(RETRY, now=today(1))
    with playground.engine.begin() as connection:
        transitions.retry(connection, job.id, now=today(2))
        transitions.cancel(connection, job.id, now=today(3))
    found = operating.finish(operation_id)
    assert (found.done, reasons(found)) == (0, {"ended after the operation was made": 1})
    assert playground.read(job.id).state == State.CANCELLED


def test_of_jobs_with_one_unique_key_one_is_started(playground: Playground, operating: Operating) -> None:
    jobs = []
    for _ in range(3):
        jobs.append(playground.add(unique_key="k"))
        with playground.engine.begin() as connection:
            transitions.cancel(connection, jobs[-1], now=NOW)
    found = operating.run(RETRY)
    assert (found.done, found.skipped, reasons(found)) == (1, 2, {"its unique key is held": 2})
    (held_by,) = {each["held_by"] for each in skips(found)[0]["examples"]}
    assert playground.read(UUID(held_by)).state == State.PENDING


def test_a_job_whose_key_an_active_one_holds_is_skipped_and_the_holder_is_named(
    playground: Playground, operating: Operating
) -> None:
    ended = playground.add(unique_key="k")
    with playground.engine.begin() as connection:
        transitions.cancel(connection, ended, now=NOW)
    holder = playground.add(unique_key="k", task="other")
    found = operating.run(RETRY)
    assert skips(found) == [
        {
            "reason": "its unique key is held",
            "jobs": 1,
            "examples": [{"id": str(ended), "held_by": str(holder)}],
        }
    ]


def cancelled(playground: Playground, **fields: Any) -> UUID:
    job_id = playground.add(**fields)
    with playground.engine.begin() as connection:
        transitions.cancel(connection, job_id, now=NOW)
    return job_id


def test_a_key_that_is_held_by_an_ended_job_is_held(playground: Playground, operating: Operating) -> None:
    ended = cancelled(playground, unique_key="k")
    holder = cancelled(playground, unique_key="k", unique_states=tuple(State), task="other")
    found = operating.run(RETRY, JobFilter(tasks=("t",)))
    assert (found.done, reasons(found)) == (0, {"its unique key is held": 1})
    assert skips(found)[0]["examples"] == [{"id": str(ended), "held_by": str(holder)}]


def test_a_holder_whose_time_with_the_key_is_over_lets_go(playground: Playground, operating: Operating) -> None:
    ended = cancelled(playground, unique_key="k")
    holder = playground.add(unique_key="k", unique_period=1.0, task="other")
    assert operating.run(RETRY, JobFilter(tasks=("t",))).done == 1
    assert playground.read(ended).state == State.PENDING
    assert playground.value("SELECT unique_released_at IS NOT NULL FROM jobs WHERE id = :id", id=holder)


def test_a_job_whose_own_time_with_its_key_is_over_is_started_without_it(
    playground: Playground, operating: Operating
) -> None:
    cancelled(playground, unique_key="k", unique_period=1.0)
    playground.add(unique_key="k", task="other")
    assert operating.run(RETRY, JobFilter(tasks=("t",))).done == 1


def test_a_success_that_is_retried_is_put_down_as_an_attempt(playground: Playground, operating: Operating) -> None:
    job = playground.ended(State.SUCCESS)
    operating.run(RETRY)
    assert playground.attempts(job.id) == [Attempt(1, 1, State.SUCCESS, None)]
    seen = playground.read(job.id)
    assert (seen.attempt, seen.run_at, seen.result, seen.finished_at) == (0, LATER, None, None)


def statistics(playground: Playground) -> list[int]:
    """How many have finished in all, and how many of those are there by the account of the minutes."""
    totals = playground.value("SELECT COALESCE(CAST(sum(jobs) AS int), 0) FROM finished_totals")
    return [totals, playground.value("SELECT COALESCE(CAST(sum(jobs) AS int), 0) FROM finished_minutes")]


@pytest.mark.parametrize("order", [DELETE, RETRY], ids=["delete", "retry"])
@pytest.mark.parametrize("are_counted", [True, False])
def test_the_totals_stay_right(
    playground: Playground, operating: Operating, order: Order, *, are_counted: bool
) -> None:
    for seconds, state in ((0, State.SUCCESS), (1, State.SUCCESS), (61, State.FAILED)):
        playground.ended(state, now=today(seconds), queue="q", task="t")
    playground.ended(State.SUCCESS, queue="q", task="kept")
    if are_counted:
        with playground.engine.begin() as connection:
            roll_up(connection, now=today(200))
        assert statistics(playground) == [4, 4]
    assert operating.run(order).done == 3
    with playground.engine.begin() as connection:
        roll_up(connection, now=today(300))
    assert statistics(playground) == [4, 1]


def test_early_counts_have_run_and_wait(playground: Playground, operating: Operating) -> None:
    playground.ended(State.SUCCESS, now=today(0), run_at=today(-7))
    operating.run(DELETE)
    row = playground.sql("SELECT * FROM finished_totals")[0]
    assert (sum(row.run_buckets), sum(row.wait_buckets), row.wait_seconds) == (1, 1, pytest.approx(7.0))


def test_counts_that_are_of_an_hour_by_now_are_taken_from_it(playground: Playground, operating: Operating) -> None:
    playground.ended(State.SUCCESS, now=today(61))
    with playground.engine.begin() as connection:
        roll_up(connection, now=today(300))
    playground.sql("UPDATE finished_minutes SET minute = date_trunc('hour', minute, 'UTC')")
    operating.run(DELETE)
    assert statistics(playground) == [1, 0]


def test_attempts_and_log_lines_go_with_deleted_jobs(playground: Playground, operating: Operating) -> None:
    job = playground.ended(State.FAILED)
    playground.sql(
        "INSERT INTO job_logs (job_id, attempt, at, message, fields) VALUES (:id, 1, now(), 'm', '{}')", id=job.id
    )
    operating.run(DELETE)
    assert playground.value("SELECT (SELECT count(*) FROM attempts) + (SELECT count(*) FROM job_logs)") == 0

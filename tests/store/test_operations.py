"""Operations: what they cover, what they do to a job in which state, how far they come, and what they leave counted."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from playground import NOW, Attempt, Playground
from steeple.domain.job import Idempotency
from steeple.domain.operation import Action, OperationState, Order
from steeple.domain.priority import Priority
from steeple.domain.states import ACTIVE, TERMINAL, State
from steeple.errors import OperationKeyReused, OperationNotFound, OperationOver
from steeple.store import finding, operations, transitions
from steeple.store.job_filters import filter_document, preview, read_filter
from steeple.store.listing import JobFilter
from steeple.store.operations import Made, NewOperation, OperationView, Progress
from steeple.store.rollup import roll_up

CANCEL, RETRY, DELETE = Order(Action.CANCEL), Order(Action.RETRY), Order(Action.DELETE)
RAISE = Order(Action.REPRIORITISE, priority=Priority.HIGH)
MOVE = Order(Action.MOVE, queue="elsewhere")
OF_TASK = JobFilter(tasks=("t",))
TODAY = datetime.now(UTC).replace(microsecond=0)
"""Ids are made by the real clock, and jobs are looked for near the time at which they were made."""

LATER = TODAY + timedelta(hours=1)


def at(seconds: float) -> datetime:
    return TODAY + timedelta(seconds=seconds)


@pytest.fixture
def slow_look_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting takes its time."""
    slow = text("SELECT count(*) FROM jobs, pg_sleep(0.2) WHERE task = ANY (CAST(:tasks AS text[]))")
    monkeypatch.setattr(finding, "_COUNT", slow)


def make(playground: Playground, order: Order, wanted: JobFilter = OF_TASK, **fields: Any) -> Made:
    """An operation that was made when all jobs of the test were there."""
    patience = fields.pop("patience", 5.0)
    now = fields.pop("now", LATER)
    with playground.engine.begin() as connection:
        new = NewOperation(fields.pop("id", uuid7()), order, wanted, **fields)
        return operations.make_operation(connection, new, patience=patience, now=now)


def advance(playground: Playground, operation_id: UUID, limit: int = 100) -> Progress | None:
    with playground.engine.begin() as connection:
        return operations.advance(connection, operation_id, limit=limit, now=LATER)


def read(playground: Playground, operation_id: UUID) -> OperationView:
    with playground.engine.begin() as connection:
        return operations.read_operation(connection, operation_id)


def finish(playground: Playground, operation_id: UUID, limit: int = 100) -> OperationView:
    for _ in range(100):
        progress = advance(playground, operation_id, limit)
        if progress is None or progress.operation.state is OperationState.DONE:
            return read(playground, operation_id)
    raise AssertionError("it does not end")


def run(playground: Playground, order: Order, wanted: JobFilter = OF_TASK, limit: int = 100) -> OperationView:
    return finish(playground, make(playground, order, wanted).operation.id, limit)


def reasons(found: OperationView) -> Mapping[str, int]:
    return {each["reason"]: each["jobs"] for each in json.loads(found.skips)}


def in_state(playground: Playground, state: State) -> UUID:
    if state is State.PENDING:
        return playground.add(queue="waiting")
    if state is State.RUNNING:
        return playground.running(queue="running").id
    return playground.ended(state, queue=state.value).id


@pytest.mark.parametrize("order", [CANCEL, RETRY, DELETE, RAISE, MOVE], ids=lambda order: order.action.value)
@pytest.mark.parametrize("state", State)
def test_an_action_is_done_to_jobs_in_its_states_only(playground: Playground, order: Order, state: State) -> None:
    job_id = in_state(playground, state)
    fence = playground.read(job_id).fence
    found = run(playground, order)
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


@pytest.mark.parametrize(
    ("wanted", "matching"),
    [
        (JobFilter(tasks=("t",)), 1),
        (JobFilter(queues=("q", "r")), 2),
        (JobFilter(priorities=(Priority.LOW,)), 1),
        (JobFilter(tags=("red",)), 1),
        (JobFilter(states=(State.PENDING,)), 3),
        (JobFilter(states=(State.FAILED,)), 0),
        (JobFilter(search="ed"), 1),
        (JobFilter(created_after=at(50)), 1),
        (JobFilter(created_before=at(50)), 2),
        (JobFilter(), 3),
    ],
)
def test_the_filters_are_those_of_the_list(playground: Playground, wanted: JobFilter, matching: int) -> None:
    playground.add(task="t", queue="q", priority=Priority.LOW)
    playground.add(task="u", queue="r", tags=("red",))
    playground.add(task="v", queue="s", now=at(100))
    found = run(playground, CANCEL, wanted)
    assert (found.done, found.total) == (matching, matching)
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'CANCELLED'") == matching


def test_a_filter_is_kept_as_it_was_given(playground: Playground) -> None:
    wanted = JobFilter((State.FAILED, State.PENDING), ("t",), ("q",), (Priority.LOW,), ("red",), at(1), at(2), "50%")
    assert read_filter(filter_document(wanted)) == wanted


def test_an_operation_goes_batch_by_batch_and_acts_on_each_job_once(playground: Playground) -> None:
    playground.add_many(7)
    operation_id = make(playground, CANCEL).operation.id
    seen = [advance(playground, operation_id, 3) for _ in range(3)]
    assert [each and (each.operation.done, each.operation.state) for each in seen] == [
        (3, OperationState.RUNNING),
        (6, OperationState.RUNNING),
        (7, OperationState.DONE),
    ]
    assert {row.fence for row in playground.sql("SELECT fence FROM jobs")} == {1}
    assert advance(playground, operation_id) is None


def test_jobs_that_come_later_are_not_covered(playground: Playground) -> None:
    playground.add()
    operation_id = make(playground, CANCEL, now=at(1)).operation.id
    late = playground.add(now=at(2))
    assert finish(playground, operation_id).done == 1
    assert playground.read(late).state == State.PENDING


def test_a_job_that_failed_after_it_was_made_is_not_covered_by_a_retry_of_failed_jobs(playground: Playground) -> None:
    failed = playground.ended(State.FAILED).id
    operation_id = make(playground, RETRY, JobFilter(states=(State.FAILED,)), now=at(1)).operation.id
    late = playground.ended(State.FAILED, now=at(2), queue="late")
    playground.sql("UPDATE jobs SET created_at = :made WHERE id = :id", made=NOW, id=late.id)
    found = finish(playground, operation_id)
    assert (found.done, found.skipped, found.total) == (1, 0, 1)
    assert [playground.read(job_id).state for job_id in (failed, late.id)] == [State.PENDING, State.FAILED]


def test_a_job_that_ended_again_meanwhile_is_not_started_twice(playground: Playground) -> None:
    job = playground.ended(State.SUCCESS)
    operation_id = make(playground, RETRY, now=at(1)).operation.id
    with playground.engine.begin() as connection:
        transitions.retry(connection, job.id, now=at(2))
        transitions.cancel(connection, job.id, now=at(3))
    found = finish(playground, operation_id)
    assert (found.done, reasons(found)) == (0, {"ended after the operation was made": 1})
    assert playground.read(job.id).state == State.CANCELLED


def test_jobs_that_no_longer_match_are_told_at_the_end(playground: Playground) -> None:
    jobs = playground.add_many(3, queue="q")
    operation_id = make(playground, CANCEL, JobFilter(queues=("q",))).operation.id
    playground.sql("UPDATE jobs SET queue = 'r' WHERE id = :id", id=jobs[1])
    found = finish(playground, operation_id)
    assert (found.done, found.skipped, found.total) == (2, 1, 3)
    assert reasons(found) == {"no longer matched when it was its turn": 1}


def test_of_jobs_with_one_unique_key_one_is_started(playground: Playground) -> None:
    jobs = []
    for _ in range(3):
        jobs.append(playground.add(unique_key="k"))
        with playground.engine.begin() as connection:
            transitions.cancel(connection, jobs[-1], now=NOW)
    found = run(playground, RETRY)
    assert (found.done, found.skipped, reasons(found)) == (1, 2, {"its unique key is held": 2})
    (held_by,) = {each["held_by"] for each in json.loads(found.skips)[0]["examples"]}
    assert playground.read(UUID(held_by)).state == State.PENDING


def test_a_job_whose_key_an_active_one_holds_is_skipped_and_the_holder_is_named(playground: Playground) -> None:
    ended = playground.add(unique_key="k")
    with playground.engine.begin() as connection:
        transitions.cancel(connection, ended, now=NOW)
    holder = playground.add(unique_key="k", task="other")
    found = run(playground, RETRY)
    assert json.loads(found.skips) == [
        {
            "reason": "its unique key is held",
            "jobs": 1,
            "examples": [{"id": str(ended), "held_by": str(holder)}],
        }
    ]


def test_a_success_that_is_retried_is_put_down_as_an_attempt(playground: Playground) -> None:
    job = playground.ended(State.SUCCESS)
    run(playground, RETRY)
    assert playground.attempts(job.id) == [Attempt(1, 1, State.SUCCESS, None)]
    seen = playground.read(job.id)
    assert (seen.attempt, seen.run_at, seen.result, seen.finished_at) == (0, LATER, None, None)


def statistics(playground: Playground) -> list[int]:
    """How many have finished in all, and how many of those are there by the account of the minutes."""
    totals = playground.value("SELECT COALESCE(CAST(sum(jobs) AS int), 0) FROM finished_totals")
    return [totals, playground.value("SELECT COALESCE(CAST(sum(jobs) AS int), 0) FROM finished_minutes")]


@pytest.mark.parametrize("order", [DELETE, RETRY], ids=["delete", "retry"])
@pytest.mark.parametrize("are_counted", [True, False])
def test_the_totals_stay_right(playground: Playground, order: Order, *, are_counted: bool) -> None:
    for seconds, state in ((0, State.SUCCESS), (1, State.SUCCESS), (61, State.FAILED)):
        playground.ended(state, now=at(seconds), queue="q", task="t")
    playground.ended(State.SUCCESS, queue="q", task="kept")
    if are_counted:
        with playground.engine.begin() as connection:
            roll_up(connection, now=at(200))
        assert statistics(playground) == [4, 4]
    assert run(playground, order).done == 3
    with playground.engine.begin() as connection:
        roll_up(connection, now=at(300))
    assert statistics(playground) == [4, 1]


def test_early_counts_have_run_and_wait(playground: Playground) -> None:
    playground.ended(State.SUCCESS, now=at(0), run_at=at(-7))
    run(playground, DELETE)
    row = playground.sql("SELECT * FROM finished_totals")[0]
    assert (sum(row.run_buckets), sum(row.wait_buckets), row.wait_seconds) == (1, 1, pytest.approx(7.0))


def test_counts_that_are_of_an_hour_by_now_are_taken_from_it(playground: Playground) -> None:
    playground.ended(State.SUCCESS, now=at(61))
    with playground.engine.begin() as connection:
        roll_up(connection, now=at(300))
    playground.sql("UPDATE finished_minutes SET minute = date_trunc('hour', minute, 'UTC')")
    run(playground, DELETE)
    assert statistics(playground) == [1, 0]


def test_attempts_and_log_lines_go_with_deleted_jobs(playground: Playground) -> None:
    job = playground.ended(State.FAILED)
    playground.sql(
        "INSERT INTO job_logs (job_id, attempt, at, message, fields) VALUES (:id, 1, now(), 'm', '{}')", id=job.id
    )
    run(playground, DELETE)
    assert playground.value("SELECT (SELECT count(*) FROM attempts) + (SELECT count(*) FROM job_logs)") == 0


def test_an_operation_on_nothing_is_done_at_once(playground: Playground) -> None:
    made = make(playground, CANCEL).operation
    assert (made.state, made.done, made.total) == (OperationState.DONE, 0, 0)
    assert made.finished_at is not None


def test_what_cannot_be_counted_in_time_has_no_total_until_it_is_done(
    playground: Playground, slow_look_ups: None
) -> None:
    playground.add_many(2)
    made = make(playground, CANCEL, patience=0.05).operation
    assert (made.total, made.state) == (None, OperationState.PENDING)
    assert finish(playground, made.id).total == 2


def test_a_preview_counts_what_matches_and_shows_the_newest(playground: Playground) -> None:
    jobs = playground.add_many(12)
    playground.add(task="other")
    with playground.engine.begin() as connection:
        found = preview(connection, OF_TASK)
    assert (found.count, found.is_exact) == (12, True)
    assert [job.id for job in found.sample] == jobs[:-11:-1]


def test_a_preview_that_cannot_count_in_time_says_so(playground: Playground, slow_look_ups: None) -> None:
    playground.add_many(3)
    with playground.engine.begin() as connection:
        found = preview(connection, OF_TASK, patience=0.05)
        timeout = connection.exec_driver_sql("SHOW statement_timeout").scalar_one()
    assert (found.count, found.is_exact, len(found.sample)) == (3, False, 3)
    assert timeout == "30s"


def test_an_aborted_operation_acts_on_nothing_more(playground: Playground) -> None:
    playground.add_many(5)
    operation_id = make(playground, CANCEL).operation.id
    advance(playground, operation_id, 2)
    with playground.engine.begin() as connection:
        aborted = operations.abort_operation(connection, operation_id)
    assert (aborted.state, aborted.done, aborted.finished_at is not None) == (OperationState.ABORTED, 2, True)
    assert advance(playground, operation_id) is None
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'PENDING'") == 3


def test_what_is_over_or_unknown_cannot_be_aborted(playground: Playground) -> None:
    playground.add()
    over = run(playground, CANCEL)
    with playground.engine.begin() as connection:
        with pytest.raises(OperationOver) as caught:
            operations.abort_operation(connection, over.id)
        with pytest.raises(OperationNotFound):
            operations.abort_operation(connection, uuid4())
    assert caught.value.state == "DONE"


def test_a_repeated_request_gives_the_same_operation(playground: Playground) -> None:
    playground.add()
    key = Idempotency("me", "k", b"hash")
    first, second = (make(playground, CANCEL, idempotency=key) for _ in range(2))
    assert (second.operation.id, first.is_replay, second.is_replay) == (first.operation.id, False, True)
    other = make(playground, CANCEL, idempotency=replace(key, owner="you"))
    assert other.operation.id != first.operation.id
    with pytest.raises(OperationKeyReused):
        make(playground, CANCEL, idempotency=replace(key, request_hash=b"other"))


def test_making_the_same_again_after_a_lost_answer_makes_one(playground: Playground) -> None:
    playground.add()
    the_id = uuid7()
    first, second = (make(playground, CANCEL, id=the_id) for _ in range(2))
    assert (first, second) == (Made(first.operation), Made(first.operation))
    assert playground.value("SELECT count(*) FROM operations") == 1


def test_operations_take_turns(playground: Playground) -> None:
    playground.add_many(4)
    made = [make(playground, order).operation.id for order in (RAISE, MOVE)]
    turns: list[UUID] = []
    for _ in range(4):
        with playground.engine.begin() as connection:
            turn = operations.next_operation(connection)
        assert turn is not None
        advance(playground, turn, 1)
        turns.append(turn)
    assert sorted(turns[:2]) == sorted(turns[2:]) == sorted(made)


def test_a_postponed_operation_lets_others_go_first(playground: Playground) -> None:
    playground.add()
    first = make(playground, RAISE).operation.id
    with playground.engine.begin() as connection:
        operations.postpone(connection, first, 60.0)
        assert operations.next_operation(connection) is None


def test_operations_are_listed_newest_first(playground: Playground) -> None:
    playground.add()
    made = [make(playground, RAISE).operation.id for _ in range(3)]
    finish(playground, made[1])
    with playground.engine.begin() as connection:
        page = operations.read_operations(connection, limit=2)
        rest = operations.read_operations(connection, limit=2, before=page[-1].id)
        done = operations.read_operations(connection, limit=2, states=(OperationState.DONE,))
    assert [each.id for each in [*page, *rest]] == made[::-1]
    assert [each.id for each in done] == [made[1]]


def test_operations_that_were_over_long_ago_are_forgotten(playground: Playground) -> None:
    playground.add()
    over, open_ = make(playground, RAISE).operation.id, make(playground, RAISE).operation.id
    finish(playground, over)
    playground.sql("UPDATE operations SET finished_at = finished_at - interval '1 h'")
    with playground.engine.begin() as connection:
        assert operations.forget_operations(connection, 7200.0) == 0
        assert operations.forget_operations(connection, 1800.0) == 1
    assert [row.id for row in playground.sql("SELECT id FROM operations")] == [open_]


def test_examples_of_what_was_skipped_are_few(playground: Playground) -> None:
    for _ in range(12):
        playground.add()
    playground.sql("UPDATE jobs SET state = 'CANCELLED', finished_at = :now", now=NOW)
    found = run(playground, CANCEL, limit=5)
    (entry,) = json.loads(found.skips)
    assert (entry["jobs"], len(entry["examples"]), found.skipped) == (12, 5, 12)

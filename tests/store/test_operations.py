"""Operations: what they cover, how they go on and end, and how they are kept."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from operating import CANCEL, LATER, MOVE, OF_TASK, RAISE, Operating, reasons, skips, today
from playground import NOW, Playground
from steeple.domain.job import Idempotency
from steeple.domain.operation import OperationState
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.errors import OperationKeyReused, OperationNotFound, OperationOver
from steeple.store import finding, operations
from steeple.store.job_filters import filter_document, preview, read_filter
from steeple.store.listing import JobFilter
from steeple.store.operations import Made


@pytest.fixture
def operating(playground: Playground) -> Operating:
    return Operating(playground, LATER)


@pytest.fixture
def slow_look_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting takes its time."""
    slow = text("SELECT count(*) FROM jobs, pg_sleep(0.2) WHERE task = ANY (CAST(:tasks AS text[]))")
    monkeypatch.setattr(finding, "_COUNT", slow)


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
        (JobFilter(created_after=today(50)), 1),
        (JobFilter(created_before=today(50)), 2),
        (JobFilter(), 3),
    ],
)
def test_the_filters_are_those_of_the_list(
    playground: Playground, operating: Operating, wanted: JobFilter, matching: int
) -> None:
    playground.add(task="t", queue="q", priority=Priority.LOW)
    playground.add(task="u", queue="r", tags=("red",))
    playground.add(task="v", queue="s", now=today(100))
    found = operating.run(CANCEL, wanted)
    assert (found.done, found.total) == (matching, matching)
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'CANCELLED'") == matching


def test_a_filter_is_kept_as_it_was_given(playground: Playground) -> None:
    wanted = JobFilter(
        (State.FAILED, State.PENDING), ("t",), ("q",), (Priority.LOW,), ("red",), today(1), today(2), "50%"
    )
    assert read_filter(filter_document(wanted)) == wanted


def test_an_operation_goes_batch_by_batch_and_acts_on_each_job_once(
    playground: Playground, operating: Operating
) -> None:
    playground.add_many(7)
    operation_id = operating.made(CANCEL)
    seen = [operating.advance(operation_id, 3) for _ in range(3)]
    assert [each and (each.operation.done, each.operation.state) for each in seen] == [
        (3, OperationState.RUNNING),
        (6, OperationState.RUNNING),
        (7, OperationState.DONE),
    ]
    assert {row.fence for row in playground.sql("SELECT fence FROM jobs")} == {1}
    assert operating.advance(operation_id) is None


def test_jobs_that_come_later_are_not_covered(playground: Playground, operating: Operating) -> None:
    playground.add()
    operation_id = operating.made(CANCEL, now=today(1))
    late = playground.add(now=today(2))
    assert operating.finish(operation_id).done == 1
    assert playground.read(late).state == State.PENDING


def test_a_job_whose_id_was_made_by_a_clock_that_is_far_ahead_is_covered(
    playground: Playground, operating: Operating
) -> None:
    playground.add()
    playground.sql("UPDATE jobs SET id = 'fffffffe-ffff-7fff-bfff-ffffffffffff'")
    operation_id = operating.made(CANCEL, now=today(1))
    late = playground.add(now=today(2))
    assert operating.finish(operation_id).done == 1
    assert playground.read(late).state == State.PENDING


def test_a_time_in_the_filter_bounds_it_too(playground: Playground, operating: Operating) -> None:
    jobs = [playground.add(now=today(seconds)) for seconds in (0, 100, 200)]
    found = operating.run(CANCEL, JobFilter(created_after=today(50), created_before=today(150)))
    assert (found.done, found.total) == (1, 1)
    assert playground.read(jobs[1]).state == State.CANCELLED


def test_jobs_that_no_longer_match_are_told_at_the_end(playground: Playground, operating: Operating) -> None:
    jobs = playground.add_many(3, queue="q")
    operation_id = operating.make(CANCEL, JobFilter(queues=("q",))).operation.id
    playground.sql("UPDATE jobs SET queue = 'r' WHERE id = :id", id=jobs[1])
    found = operating.finish(operation_id)
    assert (found.done, found.skipped, found.total) == (2, 1, 3)
    assert reasons(found) == {"no longer matched when it was its turn": 1}


def test_an_operation_on_nothing_is_done_at_once(playground: Playground, operating: Operating) -> None:
    made = operating.make(CANCEL).operation
    assert (made.state, made.done, made.total) == (OperationState.DONE, 0, 0)
    assert made.finished_at is not None


def test_what_cannot_be_counted_in_time_has_no_total_until_it_is_done(
    playground: Playground, operating: Operating, slow_look_ups: None
) -> None:
    playground.add_many(2)
    made = operating.make(CANCEL, patience=0.05).operation
    assert (made.total, made.state) == (None, OperationState.PENDING)
    assert operating.finish(made.id).total == 2


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


def test_an_aborted_operation_acts_on_nothing_more(playground: Playground, operating: Operating) -> None:
    playground.add_many(5)
    operation_id = operating.made(CANCEL)
    operating.advance(operation_id, 2)
    with playground.engine.begin() as connection:
        aborted = operations.abort_operation(connection, operation_id)
        assert operations.abort_operation(connection, operation_id) == aborted
    assert (aborted.state, aborted.done, aborted.finished_at is not None) == (OperationState.ABORTED, 2, True)
    assert operating.advance(operation_id) is None
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'PENDING'") == 3


def test_what_is_done_or_unknown_cannot_be_aborted(playground: Playground, operating: Operating) -> None:
    playground.add()
    over = operating.run(CANCEL)
    with playground.engine.begin() as connection:
        with pytest.raises(OperationOver) as caught:
            operations.abort_operation(connection, over.id)
        with pytest.raises(OperationNotFound):
            operations.abort_operation(connection, uuid4())
    assert caught.value.state == "DONE"


def test_a_repeated_request_gives_the_same_operation(playground: Playground, operating: Operating) -> None:
    playground.add()
    key = Idempotency("me", "k", b"hash")
    first, second = (operating.make(CANCEL, idempotency=key) for _ in range(2))
    assert (second.operation.id, first.is_replay, second.is_replay) == (first.operation.id, False, True)
    other = operating.make(CANCEL, idempotency=replace(key, owner="you"))
    assert other.operation.id != first.operation.id
    with pytest.raises(OperationKeyReused):
        operating.make(CANCEL, idempotency=replace(key, request_hash=b"other"))


def test_making_the_same_again_after_a_lost_answer_makes_one(playground: Playground, operating: Operating) -> None:
    playground.add()
    the_id = uuid7()
    first, second = (operating.make(CANCEL, id=the_id) for _ in range(2))
    assert (first, second) == (Made(first.operation), Made(first.operation))
    assert playground.value("SELECT count(*) FROM operations") == 1


def test_operations_take_turns(playground: Playground, operating: Operating) -> None:
    playground.add_many(4)
    made = [operating.made(order) for order in (RAISE, MOVE)]
    turns: list[UUID] = []
    for _ in range(4):
        with playground.engine.begin() as connection:
            turn = operations.next_operation(connection)
        assert turn is not None
        operating.advance(turn, 1)
        turns.append(turn)
    assert sorted(turns[:2]) == sorted(turns[2:]) == sorted(made)


def test_a_postponed_operation_lets_others_go_first(playground: Playground, operating: Operating) -> None:
    playground.add()
    first = operating.made(RAISE)
    with playground.engine.begin() as connection:
        operations.postpone(connection, first, 60.0)
        assert operations.next_operation(connection) is None


def test_operations_are_listed_newest_first(playground: Playground, operating: Operating) -> None:
    playground.add()
    made = [operating.made(RAISE) for _ in range(3)]
    operating.finish(made[1])
    with playground.engine.begin() as connection:
        page = operations.read_operations(connection, limit=2)
        rest = operations.read_operations(connection, limit=2, before=page[-1].id)
        done = operations.read_operations(connection, limit=2, states=(OperationState.DONE,))
    assert [each.id for each in [*page, *rest]] == made[::-1]
    assert [each.id for each in done] == [made[1]]


def test_operations_that_were_over_long_ago_are_forgotten(playground: Playground, operating: Operating) -> None:
    playground.add()
    over, open_ = operating.made(RAISE), operating.made(RAISE)
    operating.finish(over)
    playground.sql("UPDATE operations SET finished_at = finished_at - interval '1 h'")
    with playground.engine.begin() as connection:
        assert operations.forget_operations(connection, 7200.0) == 0
        assert operations.forget_operations(connection, 1800.0) == 1
    assert [row.id for row in playground.sql("SELECT id FROM operations")] == [open_]


def test_examples_of_what_was_skipped_are_few(playground: Playground, operating: Operating) -> None:
    for _ in range(12):
        playground.add()
    playground.sql("UPDATE jobs SET state = 'CANCELLED', finished_at = :now", now=NOW)
    found = operating.run(CANCEL, limit=5)
    (entry,) = skips(found)
    assert (entry["jobs"], len(entry["examples"]), found.skipped) == (12, 5, 12)

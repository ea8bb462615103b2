"""Schedulers work operations off: soon, in batches that end in a moment, whoever of them dies, and wake the lanes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from test_scheduler_process import SchedulerProcess

from operating import CANCEL, OF_TASK, Operating
from playground import Playground
from steeple.domain.operation import Action, OperationState, Order
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.states import State
from steeple.embedded.processes import wait_until
from steeple.scheduler.operate import Operate
from steeple.store.engine import DatabaseError
from steeple.store.listing import JobFilter
from steeple.store.operations import OperationView

StartScheduler = Callable[..., None]
Waiting = Callable[[Lane], int]

PATIENCE = 30.0


def make(playground: Playground, order: Order = CANCEL, wanted: JobFilter = OF_TASK) -> UUID:
    return Operating(playground).made(order, wanted)


def read(playground: Playground, operation_id: UUID) -> OperationView:
    return Operating(playground).read(operation_id)


def operate(playground: Playground) -> Operate:
    return Operate(playground.engine, playground.engine.execution_options(isolation_level="AUTOCOMMIT"))


def test_it_rests_where_there_is_nothing_to_do(playground: Playground) -> None:
    assert operate(playground)() >= 1.0


def test_it_goes_on_at_once_until_all_is_done(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steeple.scheduler.operate._FIRST_BATCH", 2)
    monkeypatch.setattr("steeple.scheduler.operate._LARGEST_BATCH", 2)
    monkeypatch.setattr("steeple.domain.pacing.QUICK_BATCH_SECONDS", 3600.0)
    playground.add_many(5, now=None)
    operation_id = make(playground)
    tick = operate(playground)
    assert [tick() < 0.1 for _ in range(4)] == [True, True, True, False]
    found = read(playground, operation_id)
    assert (found.state, found.done) == (OperationState.DONE, 5)


def test_batches_grow_while_they_are_quick(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steeple.scheduler.operate._FIRST_BATCH", 1)
    monkeypatch.setattr("steeple.domain.pacing.QUICK_BATCH_SECONDS", 3600.0)
    playground.add_many(7, now=None)
    operation_id = make(playground)
    tick = operate(playground)
    counts = []
    for _ in range(3):
        tick()
        counts.append(read(playground, operation_id).done)
    assert counts == [1, 3, 7]


def test_one_that_is_held_up_lets_another_go_on(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steeple.scheduler.operate._LOCK_SECONDS", 0.05)
    held, free = playground.add(now=None), playground.add(now=None, task="other")
    first, second = make(playground), make(playground, wanted=JobFilter(tasks=("other",)))
    tick = operate(playground)
    with playground.transaction() as holder:
        holder.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": held})
        assert [tick() < 0.1 for _ in range(2)] == [True, True]
        assert read(playground, first).state == OperationState.PENDING
    assert read(playground, second).state == OperationState.DONE
    assert playground.read(free).state == State.CANCELLED


def test_one_that_cannot_be_done_is_told_and_does_not_keep_others_from_theirs(playground: Playground) -> None:
    playground.add(now=None)
    broken = make(playground, Order(Action.REPRIORITISE, priority=Priority.LOW))
    whole = make(playground)
    playground.sql("ALTER TABLE jobs ADD CONSTRAINT broken CHECK (priority <> 2) NOT VALID")
    tick = operate(playground)
    try:
        with pytest.raises(DatabaseError):
            tick()
        tick()
    finally:
        playground.sql("ALTER TABLE jobs DROP CONSTRAINT broken")
    assert read(playground, broken).state == OperationState.PENDING
    assert read(playground, whole).state == OperationState.DONE


@pytest.mark.parametrize("schedulers", [1, 3])
def test_schedulers_work_off_what_is_there(
    playground: Playground, start_scheduler: StartScheduler, schedulers: int
) -> None:
    playground.add_many(300, now=None)
    made = [make(playground), make(playground)]
    for _ in range(schedulers):
        start_scheduler()
    done = [OperationState.DONE] * 2
    assert wait_until(lambda: [read(playground, each).state for each in made] == done, PATIENCE)
    assert sum(read(playground, each).done for each in made) == 300
    assert {row.fence for row in playground.sql("SELECT fence FROM jobs")} == {1}


def test_a_scheduler_that_is_killed_in_the_middle_leaves_the_rest_to_another(
    playground: Playground, broker_url: str, tmp_path: Path
) -> None:
    jobs = 2000
    playground.add_many(jobs, now=None)
    playground.sql("UPDATE jobs SET state = 'SUCCESS', finished_at = now() - interval '1 min'")
    operation_id = make(playground, Order(Action.RETRY))
    with slow_updates(playground):
        killed = SchedulerProcess(playground.url, broker_url, tmp_path / "killed.log")
        assert wait_until(lambda: read(playground, operation_id).done > 0, PATIENCE)
        killed.process.kill()
        killed.process.wait(PATIENCE)
    half = read(playground, operation_id)
    assert (half.state, half.done < jobs) == (OperationState.RUNNING, True)
    other = SchedulerProcess(playground.url, broker_url, tmp_path / "other.log")
    try:
        assert wait_until(lambda: read(playground, operation_id).state == OperationState.DONE, PATIENCE)
    finally:
        other.stop()
    found = read(playground, operation_id)
    assert (found.done, found.skipped) == (jobs, 0)
    assert {row.fence for row in playground.sql("SELECT fence FROM jobs")} == {1}
    assert playground.value("SELECT count(*) FROM attempts") == jobs


@contextmanager
def slow_updates(playground: Playground) -> Iterator[None]:
    """Each job takes a while to be changed."""
    playground.sql(
        "CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$"
    )
    playground.sql("CREATE TRIGGER slow BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION take_a_while()")
    try:
        yield
    finally:
        playground.sql("DROP TRIGGER slow ON jobs")
        playground.sql("DROP FUNCTION take_a_while")


@pytest.mark.parametrize(
    ("order", "lane"),
    [
        (Order(Action.RETRY), Lane("q", Priority.DEFAULT)),
        (Order(Action.MOVE, queue="elsewhere"), Lane("elsewhere", Priority.DEFAULT)),
        (Order(Action.REPRIORITISE, priority=Priority.HIGH), Lane("q", Priority.HIGH)),
    ],
    ids=lambda value: value.action.value if isinstance(value, Order) else "",
)
def test_the_lanes_in_which_jobs_come_to_be_due_are_woken(
    playground: Playground, start_scheduler: StartScheduler, waiting: Waiting, order: Order, lane: Lane
) -> None:
    playground.worker(binding=Binding(queues=(str(lane.queue),), priorities=(lane.priority,)))
    playground.add(now=None, queue="q")
    if order.action is Action.RETRY:
        playground.sql("UPDATE jobs SET state = 'FAILED', finished_at = now()")
    elif order.action is Action.REPRIORITISE:
        assert waiting(lane) == 0
    make(playground, order)
    start_scheduler(worker_dead_after=60.0)
    assert wait_until(lambda: waiting(lane) > 0, PATIENCE)

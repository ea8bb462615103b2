"""Flows in Python: put together, stored as one, in the caller's transaction too."""

import hashlib
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from steeple import State, Steeple
from steeple.domain.job import ClaimedJob, Finish, Hold
from steeple.domain.priority import Binding
from steeple.errors import FlowConflict, FlowNotFound, InvalidArguments, InvalidJob, UniqueKeyHeld, WaitTimeout
from steeple.store.exchange import Claimant, exchange
from steeple.store.reads import JobView
from steeple.store.workers import NewWorker, register
from steeple.submission import new_id

Stored = Callable[[Any], JobView | None]
Count = Callable[[], int]


@pytest.fixture
def app(app: Steeple) -> Steeple:
    @app.task("work")
    def work(number: int = 0) -> int:
        return number

    return app


@pytest.fixture
def run(engine: Engine) -> Callable[..., int]:
    """Whatever is due ends so; how many jobs that were."""
    worker = NewWorker(new_id(), "w", "0", 1, Binding(), ("work",))
    with engine.begin() as connection:
        register(connection, worker)
    claimant = Claimant(worker.id, 0, worker.binding, 3600.0)

    def work(state: State = State.SUCCESS) -> int:
        jobs: list[ClaimedJob] = []
        with engine.begin() as connection:
            while found := exchange(connection, [], claimant, 100).jobs:
                jobs += found
            finishes = [Finish(job.id, job.fence, state, result="1") for job in jobs]
            exchange(connection, finishes, claimant, 0)
        return len(jobs)

    return work


def held_by(engine: Engine, job_id: UUID) -> str | None:
    with engine.begin() as connection:
        found: str | None = connection.execute(
            text("SELECT held_by FROM jobs WHERE id = :id"), {"id": job_id}
        ).scalar_one()
        return found


def test_a_job_waits_for_those_that_it_names(app: Steeple, engine: Engine, run: Callable[..., int]) -> None:
    first, second = app.submit("work"), app.submit("work")
    child = app.submit("work", after=[first, str(second.id)])
    one = app.submit("work", after=first)
    assert held_by(engine, child.id) == Hold.PARENTS
    assert (run(), run()) == (2, 2)
    assert {handle.state() for handle in (child, one)} == {State.SUCCESS}


def test_each_of_a_batch_waits(app: Steeple, engine: Engine, run: Callable[..., int]) -> None:
    parent = app.submit("work")
    handles = app.submit_batch("work", [{"number": number} for number in range(5)], after=[parent])
    assert {held_by(engine, handle.id) for handle in handles} == {Hold.PARENTS}
    assert (run(), run()) == (1, 5)


def test_a_job_that_does_not_exist_cannot_be_waited_for(app: Steeple, count: Count) -> None:
    for submit in (
        lambda: app.submit("work", after=[uuid4()]),
        lambda: app.submit_batch("work", [{}, {}], after=[uuid4()]),
    ):
        with pytest.raises(InvalidJob) as refusal:
            submit()
        assert [error.pointer for error in refusal.value.errors] == ["/after/0"]
    assert count() == 0


def test_what_is_no_id_is_refused(app: Steeple) -> None:
    with pytest.raises(InvalidJob) as refusal:
        app.submit("work", after=["x"])
    assert [error.pointer for error in refusal.value.errors] == ["/after/0"]


def test_chains_groups_and_fan_ins(app: Steeple, run: Callable[..., int], stored: Stored) -> None:
    flow = app.flow("nightly")
    first = flow.add("work")
    group = [flow.add("work", {"number": number}) for number in range(3)]
    last = flow.add("work", on_parent_failure="run")
    flow.chain(first, group, last)
    handle = flow.submit()
    assert handle.id == flow.id
    assert handle.state() is State.PENDING
    jobs = {step.id: stored(step) for step in (first, *group, last)}
    assert {job.flow_id for job in jobs.values() if job} == {flow.id}
    assert {job.after for job in (jobs[step.id] for step in group) if job} == {(first.id,)}
    final = jobs[last.id]
    assert final is not None
    assert set(final.after) == {step.id for step in group}
    assert (run(), run(), run()) == (1, 3, 1)
    assert handle.wait(timeout=5) is State.SUCCESS
    assert app.flow_handle(str(flow.id)) == handle


def test_steps_wait_for_jobs_outside_as_well(app: Steeple, run: Callable[..., int]) -> None:
    outside = app.submit("work")
    flow = app.flow()
    step = flow.add("work", after=[outside])
    flow.add("work", after=[step, outside])
    handle = flow.submit()
    assert (run(), run(), run()) == (1, 1, 1)
    assert handle.state() is State.SUCCESS


def test_a_flow_is_stored_as_a_whole_or_not_at_all(app: Steeple, count: Count) -> None:
    app.submit("work", unique_key="k")
    flow = app.flow()
    flow.chain(flow.add("work"), flow.add("work", unique_key="k"))
    with pytest.raises(UniqueKeyHeld):
        flow.submit()
    assert count() == 1
    with pytest.raises(FlowNotFound):
        app.flow_handle(flow.id).state()


def test_a_flow_that_is_submitted_twice_is_there_once(app: Steeple, count: Count) -> None:
    flow = app.flow("once")
    flow.chain(flow.add("work"), flow.add("work"))
    assert flow.submit() == flow.submit()
    assert count() == 2


def test_what_cannot_be_a_flow(app: Steeple, count: Count) -> None:
    with pytest.raises(InvalidJob, match="one step at least"):
        app.flow().submit()
    circle = app.flow()
    first, second = circle.add("work"), circle.add("work")
    circle.chain(first, second, first)
    with pytest.raises(InvalidJob, match="circle: work"):
        circle.submit()
    with pytest.raises(InvalidJob, match="no step of this flow"):
        app.flow().chain(first, second)
    with pytest.raises(InvalidJob, match="part of a chain"):
        circle.chain(first, [], second)
    with pytest.raises(InvalidJob, match="/idempotency_key"):
        app.flow().add("work", idempotency_key="k")
    with pytest.raises(InvalidJob, match="/flow_id"):
        app.flow().add("work", flow_id=uuid4())
    with pytest.raises(InvalidArguments):
        app.flow().add("work", {"number": "x"})
    assert count() == 0


def test_a_flow_joins_the_callers_transaction(app: Steeple, engine: Engine, count: Count) -> None:
    flow = app.flow()
    first, second = flow.add("work"), flow.add("work")
    flow.chain(first, second)
    with Session(engine) as session:
        flow.submit(connection=session)
        assert count() == 0
        session.rollback()
    assert count() == 0
    with Session(engine) as session, session.begin():
        flow.submit(connection=session)
    assert held_by(engine, second.id) == Hold.PARENTS  # confirmed when the session had committed


def test_a_bare_connection_leaves_the_confirmation_to_the_scheduler(app: Steeple, engine: Engine) -> None:
    parent = app.submit("work")
    with engine.begin() as connection:
        child = app.submit("work", after=[parent], connection=connection)
    assert held_by(engine, child.id) == Hold.UNCONFIRMED


def test_a_flow_is_cancelled_and_started_anew(app: Steeple, engine: Engine, run: Callable[..., int]) -> None:
    flow = app.flow()
    first, second = flow.add("work"), flow.add("work")
    flow.chain(first, second)
    handle = flow.submit()
    with pytest.raises(FlowConflict):
        handle.retry()
    with pytest.raises(WaitTimeout):
        handle.wait(timeout=0.05)
    handle.cancel()
    assert handle.state() is State.CANCELLED
    with pytest.raises(FlowConflict):
        handle.cancel()
    handle.retry()
    assert held_by(engine, second.id) == Hold.PARENTS
    run(State.FAILED)
    assert (handle.state(), app.handle(second.id).state()) == (State.FAILED, State.CANCELLED)
    handle.retry()
    assert (run(), run(), handle.state()) == (1, 1, State.SUCCESS)


def test_a_request_of_before_there_were_parents_is_still_the_same(app: Steeple, engine: Engine) -> None:
    """What it says about them, nothing, is not part of it."""
    app.submit("work", idempotency_key="k")
    with engine.begin() as connection:
        args, stored = connection.execute(text("SELECT CAST(args AS text), request_hash FROM jobs")).one()
    said: dict[str, object] = {
        "queue": None,
        "priority": None,
        "run_at": None,
        "delay": None,
        "expires_at": None,
        "timeout": None,
        "max_attempts": None,
        "unique_key": None,
        "tags": [],
        "retry": None,
    }
    assert stored == hashlib.sha256(json.dumps(["work", args, said]).encode()).digest()

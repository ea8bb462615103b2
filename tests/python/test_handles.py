"""Handles: a job's state and result as the database has them, whoever moved it there."""

import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import Engine

from steeple import Handle, Priority, State, Steeple
from steeple.domain.job import ClaimedJob, Finish, JobError, Reason
from steeple.domain.priority import Binding
from steeple.errors import JobCancelled, JobFailed, JobNotFound, StateConflict, WaitTimeout
from steeple.store.exchange import Claimant, exchange
from steeple.store.reads import JobView
from steeple.store.workers import NewWorker, register
from steeple.submission import new_id


@pytest.fixture
def handle(app: Steeple) -> Handle:
    return app.task("t")(lambda: None).submit()


class _Worker:
    """Claims and finishes by the store's own functions, as a slot would."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        worker = NewWorker(new_id(), "w", "0", 1, Binding(None, tuple(Priority)), ("t",))
        with engine.begin() as connection:
            register(connection, worker)
        self._claimant = Claimant(worker.id, 0, worker.binding, 3600.0)

    def claim(self) -> ClaimedJob:
        with self._engine.begin() as connection:
            (job,) = exchange(connection, [], self._claimant, 1).jobs
        return job

    def finish(self, job: ClaimedJob, state: State, result: str | None = None, error: JobError | None = None) -> None:
        with self._engine.begin() as connection:
            assert not exchange(connection, [Finish(job.id, job.fence, state, result, error)], self._claimant, 0).stale


@pytest.fixture
def worker(engine: Engine) -> _Worker:
    return _Worker(engine)


def test_the_state_is_the_databases(handle: Handle, worker: _Worker) -> None:
    assert handle.state() is State.PENDING
    job = worker.claim()
    assert handle.state() is State.RUNNING
    worker.finish(job, State.SUCCESS, "null")
    assert handle.state() is State.SUCCESS


@pytest.mark.parametrize(("text", "value"), [("null", None), ('{"a": [1.5, "é"]}', {"a": [1.5, "é"]}), ("0", 0)])
def test_the_result_is_what_the_task_returned(handle: Handle, worker: _Worker, text: str, value: object) -> None:
    worker.finish(worker.claim(), State.SUCCESS, text)
    assert handle.result(timeout=0) == value


def test_the_result_is_waited_for(handle: Handle, worker: _Worker) -> None:
    job = worker.claim()
    finisher = threading.Timer(0.2, worker.finish, (job, State.SUCCESS, "5"))
    finisher.start()
    try:
        assert handle.result(timeout=60) == 5
    finally:
        finisher.join()


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_waiting_ends_with_the_state_that_the_job_still_has(handle: Handle, worker: _Worker, timeout: float) -> None:
    worker.claim()
    for wait in (handle.wait, handle.result):
        with pytest.raises(WaitTimeout) as caught:
            wait(timeout=timeout)
        assert (caught.value.job_id, caught.value.state) == (str(handle.id), "RUNNING")
        assert caught.value.timeout == timeout


def test_the_result_of_a_failed_job_is_an_error_with_its_reason(handle: Handle, worker: _Worker) -> None:
    worker.finish(worker.claim(), State.FAILED, error=JobError("ValueError", "no such month", Reason.EXCEPTION, "…"))

    assert handle.wait(timeout=0) is State.FAILED
    with pytest.raises(JobFailed, match="ValueError: no such month") as caught:
        handle.result(timeout=0)
    assert caught.value.job_id == str(handle.id)
    assert caught.value.error == {
        "type": "ValueError",
        "message": "no such month",
        "reason": "exception",
        "traceback": "…",
    }


def test_a_pending_job_is_cancelled_at_once(handle: Handle) -> None:
    handle.cancel()

    assert handle.wait(timeout=0) is State.CANCELLED
    with pytest.raises(JobCancelled) as caught:
        handle.result(timeout=0)
    assert caught.value.job_id == str(handle.id)


def test_of_a_running_job_only_the_wish_to_cancel_is_noted(
    handle: Handle, worker: _Worker, stored: Callable[..., JobView]
) -> None:
    worker.claim()
    handle.cancel()

    assert handle.state() is State.RUNNING
    assert stored(handle).cancel_requested_at is not None


def test_a_job_that_has_ended_cannot_be_cancelled(handle: Handle, worker: _Worker) -> None:
    worker.finish(worker.claim(), State.SUCCESS, "null")

    with pytest.raises(StateConflict) as caught:
        handle.cancel()
    assert (caught.value.job_id, caught.value.state, caught.value.action) == (str(handle.id), "SUCCESS", "cancel")


def test_a_job_that_is_gone_is_not_found_by_any_method(app: Steeple) -> None:
    gone = app.handle(UUID(int=7))
    for method in (gone.state, gone.wait, gone.result, gone.cancel):
        with pytest.raises(JobNotFound) as caught:
            method()
        assert caught.value.job_id == str(gone.id)


def test_handles_of_the_same_job_are_equal(app: Steeple, handle: Handle) -> None:
    assert {handle, app.handle(handle.id)} == {handle}
    assert repr(handle) == f"Handle(id={handle.id!r})"

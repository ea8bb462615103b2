"""Deploys are gentle: workers that are told to stop lose no attempt, and parts of neighbouring versions get along."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from crowd import CALM
from fleet import QUICK
from history import History, Transition
from stage import Stage

from steeple.domain.states import Cause
from steeple.store.migrate import head

GRACE = float(QUICK["STEEPLE_SHUTDOWN_GRACE"])
SLACK = 2.0


@pytest.mark.soak
def test_a_worker_that_is_told_to_stop_gives_back_what_it_cannot_end(stage: Stage) -> None:
    with stage.load(CALM):
        job_id = stage.held()
        worker = stage.worker_of(job_id)
        worker_id = stage.fleet.worker_id(worker)
        told_at = stage.value("SELECT clock_timestamp()")
        status = worker.stop()
        stopped_at = stage.value("SELECT clock_timestamp()")
        stage.let_go()
        job = stage.wait_ended(job_id)
    assert isinstance(told_at, datetime)
    assert isinstance(stopped_at, datetime)
    assert status == 0, worker.said
    assert stopped_at - told_at < timedelta(seconds=GRACE + SLACK + 3)
    assert (job["state"], job["attempt"], job["crashes"]) == ("SUCCESS", 1, 0)
    assert len(stage.runs(job_id)) == 2
    late = [claim for claim in _claims(stage.history, worker_id) if claim.at > told_at + timedelta(seconds=0.5)]
    assert not late


@pytest.mark.soak
def test_rolling_restart_of_all_workers_loses_no_attempt(stage: Stage) -> None:
    with stage.load(CALM, clients=1) as crowd:
        for worker in list(stage.fleet.workers):
            status = worker.stop()
            assert status == 0, worker.said
            stage.fleet.start()
            stage.progress(crowd)
    rows = stage.history.at_end().values()
    assert {(row.state, row.attempt, row.crashes) for row in rows} == {("SUCCESS", 1, 0)}
    assert max(_waits(stage.history)) < timedelta(seconds=GRACE + SLACK)


@contextmanager
def newer_schema(stage: Stage) -> Iterator[None]:
    """As the next version's upgrade leaves it: a revision that this one does not know, more columns and indexes."""
    stage.servers.query("ALTER TABLE jobs ADD COLUMN weather text")
    stage.servers.query("ALTER TABLE workers ADD COLUMN weather text")
    stage.servers.query("CREATE INDEX CONCURRENTLY jobs_weather ON jobs (weather)")
    stage.servers.query("UPDATE steeple_schema SET version_num = '9999'")
    try:
        yield
    finally:
        stage.servers.query("UPDATE steeple_schema SET version_num = %s", head())
        stage.servers.query("ALTER TABLE jobs DROP COLUMN weather")
        stage.servers.query("ALTER TABLE workers DROP COLUMN weather")


@pytest.mark.soak
def test_parts_of_this_version_work_on_with_the_next_one_s_schema(stage: Stage) -> None:
    """Those that run when the schema is upgraded, and those that are started again before they are replaced."""
    with stage.load() as crowd, newer_schema(stage):
        stage.progress(crowd)
        assert not [part.said for part in stage.fleet.parts if "cached plan" in part.said]
        for part in (stage.fleet.apis[0], stage.fleet.schedulers[0], stage.fleet.workers[0]):
            part.kill()
        stage.fleet.start()
        assert all(part.is_running for part in stage.fleet.parts), stage.fleet.said
        stage.progress(crowd)


def _claims(history: History, worker_id: object) -> list[Transition]:
    return [line for line in history.transitions if line.is_claim and line.after and line.after.worker_id == worker_id]


def _waits(history: History) -> Iterator[timedelta]:
    """How long each job waited before each of its claims, from when it was due or given back."""
    for lines in history.by_job.values():
        free_at: datetime | None = None
        for line in lines:
            if line.is_claim and free_at is not None:
                yield line.at - free_at
            if line.cause in (Cause.SUBMIT, Cause.RELEASE) and line.after and line.after.run_at:
                free_at = max(line.at, line.after.run_at)

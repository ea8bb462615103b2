"""A worker that can do nothing says so while its heart beats; one for which that lasts ends, to be started again."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from stage import Stage

from parts import Part
from steeple.embedded.processes import wait_until

PATIENCE = 60.0
SOON = {"STEEPLE_CUT_OFF_AFTER": "3"}
UNREACHABLE = 5
"""The exit code."""

REFUSE_CLAIMS = """
CREATE FUNCTION refuse_claims() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no claims today'; END $$;
CREATE TRIGGER refuse_claims BEFORE UPDATE OF state ON jobs
    FOR EACH ROW WHEN (NEW.state = 'RUNNING') EXECUTE FUNCTION refuse_claims()
"""
ALLOW_CLAIMS = "DROP TRIGGER refuse_claims ON jobs; DROP FUNCTION refuse_claims"


@pytest.mark.timeout(240)
@pytest.mark.soak
def test_worker_cut_off_from_its_broker(stage: Stage) -> None:
    with stage.load() as crowd, stage.fleet.guest("worker", **SOON) as guest:
        with stage.trouble(), stage.servers.broker_line.stalled():
            assert wait_until(lambda: "its broker" in trouble(stage, guest), PATIENCE), stage.fleet.said
            ends_to_be_started_again(guest)
        stage.progress(crowd)


@pytest.mark.timeout(240)
@pytest.mark.soak
def test_worker_cut_off_from_its_database(stage: Stage) -> None:
    with stage.load() as crowd, stage.fleet.guest("worker", **SOON) as guest:
        with stage.trouble(), stage.servers.database_line.stalled():
            ends_to_be_started_again(guest)
        stage.progress(crowd)


@pytest.mark.timeout(240)
@pytest.mark.soak
def test_worker_whose_claims_fail(stage: Stage) -> None:
    with stage.load() as crowd, stage.fleet.guest("worker", **SOON) as guest:
        with stage.trouble(), claims_refused(stage):
            assert wait_until(lambda: "fails claims" in trouble(stage, guest), PATIENCE), stage.fleet.said
            ends_to_be_started_again(guest)
        stage.progress(crowd)


@pytest.mark.soak
def test_trouble_is_over_when_it_is_over(stage: Stage) -> None:
    with stage.load() as crowd:
        worker = stage.fleet.workers[0]
        with stage.trouble(), claims_refused(stage):
            assert wait_until(lambda: trouble(stage, worker) != "", PATIENCE), stage.fleet.said
        assert wait_until(lambda: trouble(stage, worker) == "", PATIENCE), stage.fleet.said
        stage.progress(crowd)


def ends_to_be_started_again(worker: Part) -> None:
    assert wait_until(lambda: not worker.is_running, PATIENCE), worker.said
    assert worker.process.returncode == UNREACHABLE, worker.said
    assert "worker_cut_off" in worker.said


def trouble(stage: Stage, worker: Part) -> str:
    """Of this worker, by the api; empty for none."""
    reply = httpx2.get(f"{stage.fleet.urls()[0]}/v1/workers", trust_env=False, timeout=15)
    reply.raise_for_status()
    return next(
        (each["trouble"] or "" for each in reply.json()["workers"] if each["name"].endswith(f":{worker.pid}")), ""
    )


@contextmanager
def claims_refused(stage: Stage) -> Iterator[None]:
    stage.servers.query(REFUSE_CLAIMS)
    try:
        yield
    finally:
        stage.servers.query(ALLOW_CLAIMS)

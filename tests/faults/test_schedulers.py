"""Several schedulers, none, and hosts whose clocks disagree."""

import json
import shutil
import subprocess
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from stage import Stage

from parts import Part

PATIENCE = 30.0

_TWO_HOURS_PASS = """
UPDATE jobs SET run_at = run_at - interval '2 h', expires_at = expires_at - interval '2 h' WHERE state = 'PENDING'
"""
_TWO_HOURS_OF_SILENCE = "UPDATE workers SET heartbeat_at = heartbeat_at - interval '2 h' WHERE name LIKE %s"


@pytest.mark.parametrize("schedulers", [2, 4])
@pytest.mark.soak
def test_several_schedulers(stage: Stage, schedulers: int) -> None:
    """All of them rescue the same dead workers' jobs, and wake the same lanes."""
    with ExitStack() as guests:
        for _ in range(schedulers - 1):
            guests.enter_context(stage.fleet.guest("scheduler"))
        with stage.load() as crowd:
            jobs = [stage.held() for _ in range(2)]
            with stage.trouble():
                for worker in stage.fleet.workers:
                    worker.kill()
                stage.let_go()
                stage.fleet.start()
                stage.progress(crowd)
            ended = [stage.wait_ended(job_id) for job_id in jobs]
    assert [(job["state"], job["crashes"], job["attempt"]) for job in ended] == [("SUCCESS", 1, 2)] * 2


@pytest.mark.soak
def test_scheduler_dead_for_two_hours(stage: Stage) -> None:
    """Meanwhile a worker died, a job fell due, and another did not start by its time."""
    with stage.load() as crowd:
        held = stage.held()
        with stage.trouble():
            stage.fleet.schedulers[0].kill()
            worker = stage.worker_of(held)
            worker.kill()
            due = stage.submit("fault.work", delay=7000)
            late = stage.submit("fault.work", delay=3600, expires_at=_in(5400))
            stage.servers.query(_TWO_HOURS_PASS)
            stage.servers.query(_TWO_HOURS_OF_SILENCE, f"%:{worker.pid}")
            stage.let_go()
            stage.fleet.start()
            stage.progress(crowd)
            ended = {job_id: stage.wait_ended(job_id) for job_id in (held, due, late)}
    assert (ended[held]["state"], ended[held]["crashes"]) == ("SUCCESS", 1)
    assert ended[due]["state"] == "SUCCESS"
    assert (ended[late]["state"], ended[late]["error"]["reason"]) == ("FAILED", "expired")


@pytest.mark.soak
def test_host_clocks_ten_minutes_apart(stage: Stage, tmp_path: Path) -> None:
    fast, slow = (_clock(tmp_path, minutes * 60) for minutes in (10, -10))
    regular = stage.fleet.parts
    with ExitStack() as guests:
        workers = [guests.enter_context(stage.fleet.guest("worker", **clock)) for clock in (fast, slow)]
        guests.enter_context(stage.fleet.guest("scheduler", **slow))
        guests.enter_context(stage.fleet.guest("api", **fast))
        for part in regular:
            part.kill()
        with stage.load() as crowd:
            waits = stage.submit("fault.work", delay=1.0)
            stops = stage.submit("fault.sleep", {"seconds": 60}, timeout=0.5, max_attempts=1)
            stage.progress(crowd)
            assert stage.wait_ended(waits)["state"] == "SUCCESS"
            assert stage.wait_ended(stops)["error"]["reason"] == "timeout"
        assert all(stage.fleet.worker_id(worker) for worker in workers)
        for sign, worker in zip((1, -1), workers, strict=True):
            assert sign * (_last_said(worker) - datetime.now(UTC)) > timedelta(minutes=9)


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def _clock(folder: Path, offset: int) -> dict[str, str]:
    """The environment in which the time of day is shifted by so many seconds."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("test_host_clocks_ten_minutes_apart: no C compiler to build clock.c with")
    library = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)}


def _last_said(part: Part) -> datetime:
    """By its own clock."""
    return datetime.fromisoformat(json.loads(part.said.splitlines()[-1])["timestamp"])

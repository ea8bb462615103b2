"""Processes that are killed, stopped and continued, or told to end, one kind at a time, under load."""

import os
import signal

import pytest
from postgres_proxy import Round
from stage import Stage

from parts import Part
from steeple.embedded.processes import wait_until

PATIENCE = 30.0
LEASE = 3.5
"""Longer than a worker may be silent; rescuers look every half second."""


def test_slot_killed_in_the_middle_of_a_task(stage: Stage) -> None:
    with stage.load():
        job_id = stage.held()
        os.kill(stage.slot_of(job_id), signal.SIGKILL)
        stage.let_go()
        job = stage.wait_ended(job_id)
    assert (job["state"], job["crashes"], job["attempt"]) == ("SUCCESS", 1, 2)


def test_worker_killed(stage: Stage) -> None:
    with stage.load():
        job_id = stage.held()
        with stage.trouble():
            stage.worker_of(job_id).kill()
            stage.let_go()
            job = stage.wait_ended(job_id)
    assert (job["state"], job["crashes"], job["attempt"]) == ("SUCCESS", 1, 2)


def test_scheduler_killed(stage: Stage) -> None:
    with stage.load() as crowd, stage.trouble():
        stage.fleet.schedulers[0].kill()
        stage.progress(crowd)  # of what the api woke the workers for


def test_api_killed_in_the_middle_of_a_request(stage: Stage) -> None:
    with stage.load() as crowd:
        with stage.trouble(), stage.servers.database_line.holding(_is_insert) as gate:
            assert gate.has_caught.wait(PATIENCE)
            stage.fleet.apis[0].kill()
        stage.fleet.start()
        stage.progress(crowd)


def test_slot_stopped_past_the_lease_and_continued(stage: Stage) -> None:
    """The warden beats the heart meanwhile, so nobody takes the job away."""
    with stage.load() as crowd:
        job_id = stage.held()
        slot = stage.slot_of(job_id)
        with stage.trouble():
            os.kill(slot, signal.SIGSTOP)
            stage.let_go()
            stage.sleep(LEASE)
            assert not stage.has_ended(job_id)
            os.kill(slot, signal.SIGCONT)
        job = stage.wait_ended(job_id)
        stage.progress(crowd)
    assert (job["state"], job["crashes"], job["attempt"], len(stage.runs(job_id))) == ("SUCCESS", 0, 1, 1)


@pytest.mark.soak
def test_worker_stopped_past_the_lease_and_continued(stage: Stage) -> None:
    """It comes back believing in its claim; by then another has run the job."""
    with stage.load() as crowd:
        job_id = stage.held()
        worker = stage.worker_of(job_id)
        former = stage.fleet.worker_id(worker)
        family = [worker.pid, *worker.children()]
        with stage.trouble():
            for pid in family:
                os.kill(pid, signal.SIGSTOP)
            stage.let_go()
            job = stage.wait_ended(job_id)
            for pid in family:
                os.kill(pid, signal.SIGCONT)
            assert wait_until(lambda: stage.fleet.worker_id(worker) not in (None, former), PATIENCE)
        stage.progress(crowd)
    assert (job["state"], job["crashes"], job["attempt"]) == ("SUCCESS", 1, 2)
    assert stage.job(job_id)["fence"] == job["fence"]


def test_main_process_of_a_worker_stopped_past_the_lease_and_continued(stage: Stage) -> None:
    """Its slots go on for themselves, and may claim nothing once the worker is taken for dead."""
    with stage.load() as crowd:
        worker = stage.fleet.workers[0]
        former = stage.fleet.worker_id(worker)
        with stage.trouble():
            os.kill(worker.pid, signal.SIGSTOP)
            assert wait_until(lambda: stage.fleet.worker_id(worker) is None, PATIENCE)
            stage.progress(crowd)
            os.kill(worker.pid, signal.SIGCONT)
            assert wait_until(lambda: stage.fleet.worker_id(worker) not in (None, former), PATIENCE)
        stage.progress(crowd)


def test_worker_cut_off_right_after_a_heartbeat(stage: Stage) -> None:
    """What it leaves behind in the database must not keep others from taking its jobs away."""
    living = {stage.fleet.worker_id(worker) for worker in stage.fleet.workers}
    with stage.load() as crowd:
        job_id = stage.held()
        stage.let_go()
        with stage.trouble(), stage.servers.database_line.holding(_follows_a_heartbeat) as gate:
            assert gate.has_caught.wait(PATIENCE)
            assert wait_until(lambda: not living <= _living(stage), LEASE + 10)
            stage.progress(crowd)
    assert stage.job(job_id)["state"] == "SUCCESS"


@pytest.mark.parametrize("kind", ["apis", "schedulers", "workers"])
def test_sigterm(stage: Stage, kind: str) -> None:
    with stage.load() as crowd:
        part: Part = getattr(stage.fleet, kind)[0]
        status = part.stop()
        stage.fleet.start()
        stage.progress(crowd)
    assert status == 0, part.said


def _is_insert(each: Round) -> bool:
    return each.statement is not None and "INSERT INTO jobs" in each.statement


def _follows_a_heartbeat(each: Round) -> bool:
    return "UPDATE workers SET heartbeat_at" in each.former


def _living(stage: Stage) -> set[object]:
    return {row[0] for row in stage.servers.query("SELECT id FROM workers WHERE ended_at IS NULL")}

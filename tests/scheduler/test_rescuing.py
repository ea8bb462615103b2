"""Jobs of workers that went silent run elsewhere; workers that could not be heard are given time."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import text

from playground import Playground
from steeple import Settings
from steeple.domain.states import State
from steeple.domain.statistics import CounterName
from steeple.embedded.processes import wait_until
from steeple.scheduler.rescue import Rescue, _Touch
from steeple.store import counters, workers
from steeple.store.exchange import Claimant

PATIENCE = 30.0


def silence(playground: Playground, seconds: float) -> None:
    playground.sql("UPDATE workers SET heartbeat_at = now() - :seconds * interval '1 s'", seconds=seconds)


def rounds(rescue: Rescue, enough: int = 4) -> None:
    """As many as it takes to be in touch for a while, and to bury and rescue after that."""
    for _ in range(enough):
        rescue()


@pytest.fixture
def rescue(playground: Playground, settings: Settings) -> Rescue:
    """In touch from the first round on."""
    at_once = settings.model_copy(update={"heartbeat_interval": 1e-9})
    return Rescue(playground.engine, playground.engine, at_once)


def test_jobs_of_a_silent_worker_are_rescued_with_the_reason(playground: Playground, rescue: Rescue) -> None:
    job = playground.running(playground.worker("anna"), now=None)
    silence(playground, 7)
    rounds(rescue)
    seen = playground.read(job.id)
    assert (seen.state, seen.fence, seen.crashes) == (State.PENDING, job.fence + 1, 1)
    assert json.loads(seen.error or "")["message"] == "worker anna was silent for 7 s"
    with playground.engine.begin() as connection:
        assert counters.totals(connection)[CounterName.RESCUES] == 1


def test_jobs_of_a_lively_worker_are_left_to_it(playground: Playground, rescue: Rescue) -> None:
    job = playground.running(now=None)
    playground.sql("UPDATE workers SET heartbeat_at = now() + interval '1 h'")
    rounds(rescue)
    assert playground.read(job.id).state == State.RUNNING


def test_jobs_of_a_worker_that_stopped_without_them_are_rescued(playground: Playground, rescue: Rescue) -> None:
    claimant = playground.worker("anna")
    job = playground.running(claimant, now=None)
    with playground.engine.begin() as connection:
        workers.end(connection, claimant.worker_id)
    rescue()
    error = json.loads(playground.read(job.id).error or "")
    assert (error["message"], error["reason"]) == ("worker anna stopped without finishing the job", "crash")


def test_a_job_that_somebody_holds_locked_holds_up_no_other(playground: Playground, rescue: Rescue) -> None:
    claimant = playground.worker()
    locked, other = playground.running(claimant, now=None), playground.running(claimant, now=None)
    silence(playground, 7)
    with playground.transaction() as somebody:
        somebody.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": locked.id})
        rounds(rescue)
        assert playground.read(other.id).state is State.PENDING
        assert playground.read(locked.id).state is State.RUNNING
    rounds(rescue)
    assert playground.read(locked.id).state is State.PENDING


def test_a_job_whose_worker_left_no_row_is_rescued(playground: Playground, rescue: Rescue) -> None:
    job = playground.running(now=None)
    playground.sql("DELETE FROM workers")
    rescue()
    assert "unknown" in (playground.read(job.id).error or "")


def test_what_two_workers_held_is_told_apart(playground: Playground, rescue: Rescue) -> None:
    jobs = {name: playground.running(playground.worker(name), now=None) for name in ("anna", "bert")}
    silence(playground, 7)
    rounds(rescue)
    for name, job in jobs.items():
        assert name in (playground.read(job.id).error or "")


def test_more_orphans_than_one_round_takes_are_all_rescued(
    playground: Playground, rescue: Rescue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steeple.scheduler.rescue._MOST_AT_ONCE", 2)
    claimant: Claimant = replace(playground.worker(), starvation=1.0)
    playground.add_many(5, now=None)
    assert len(playground.claim(claimant, 5, now=None)) == 5
    playground.sql("DELETE FROM workers")
    assert [rescue() == 0.0 for _ in range(3)] == [True, True, False]
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'PENDING'") == 5


def test_nobody_is_buried_before_we_were_in_touch_for_two_heartbeats(
    playground: Playground, settings: Settings
) -> None:
    """After an outage of the database all workers look silent at first."""
    playground.worker()
    silence(playground, 7)
    patient = Rescue(playground.engine, playground.engine, settings.model_copy(update={"heartbeat_interval": 3600.0}))
    rounds(patient)
    assert playground.value("SELECT count(*) FROM workers WHERE ended_at IS NULL") == 1


def test_touch_is_steady_once_it_has_lasted() -> None:
    touch = _Touch(longest_gap=5.0, needed=3.0)
    seen = []
    for now in (100, 102, 103, 107, 113, 115, 116):
        touch.note(float(now))
        seen.append(touch.is_steady)
    assert seen == [False, False, True, True, False, False, True]


def test_a_dead_worker_s_job_is_run_by_another(playground: Playground, start_scheduler: object) -> None:
    job = playground.running(now=None)
    silence(playground, 7)
    assert callable(start_scheduler)
    start_scheduler()
    assert wait_until(lambda: playground.read(job.id).state == State.PENDING, PATIENCE)
    (again,) = playground.claim(playground.worker(), now=None)
    assert (again.id, again.attempt) == (job.id, 2)


def test_two_schedulers_count_a_crash_once(playground: Playground, start_scheduler: object) -> None:
    jobs = [playground.running(now=None) for _ in range(10)]
    silence(playground, 7)
    assert callable(start_scheduler)
    for _ in range(2):
        start_scheduler()
    assert wait_until(
        lambda: playground.value("SELECT count(*) FROM jobs WHERE state = 'PENDING'") == len(jobs), PATIENCE
    )
    assert {(playground.read(job.id).crashes, playground.read(job.id).fence) for job in jobs} == {(1, 2)}

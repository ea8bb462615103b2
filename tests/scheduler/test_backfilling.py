"""Backfills: so many jobs at a time, in order, each time once, and in nobody's way."""

import threading
from uuid import UUID

from schedule_stage import ScheduleStage
from uuid_utils.compat import uuid7

from playground import NOW, at
from steeple.domain.schedule import Outcome, Overlap
from steeple.schedule_changes import backfill, past_times
from steeple.store.backfills import NewBackfill, read_backfills
from steeple.store.fires import outlook

FIRED, SKIPPED = Outcome.FIRED, Outcome.SKIPPED


def _backfill(stage: ScheduleStage, schedule_id: UUID, first: float, last: float, running: int) -> NewBackfill:
    new = NewBackfill(uuid7(), schedule_id, at(first), at(last), running)
    times = past_times(stage.read(new.schedule_id), new, at(10_000))
    stage.run(lambda connection: backfill(connection, new, times))
    return new


def test_a_backfill_makes_the_jobs_of_a_past_range_so_many_at_a_time(stage: ScheduleStage) -> None:
    schedule_id = stage.make(starts_at=NOW, now=at(9_990))
    new = _backfill(stage, schedule_id, 60, 360, 2)
    assert stage.run(outlook).has_backfills
    ended = 0
    while stage.fire_backfills(10_001).lanes:
        jobs = stage.jobs(schedule_id)
        assert sum(job.state == "PENDING" for job in jobs) <= 2
        for job in jobs:
            stage.end(job.id)
            ended += 1
    assert stage.outcomes(schedule_id) == [(second, FIRED) for second in range(60, 361, 60)]
    (view,) = stage.run(lambda connection: read_backfills(connection, schedule_id))
    assert (view.id, view.total, view.waiting, view.finished_at is None) == (new.id, 6, 0, False)
    assert not stage.run(outlook).has_backfills


def test_a_backfill_leaves_what_had_its_job_and_takes_up_what_came_to_nothing(stage: ScheduleStage) -> None:
    schedule_id = stage.make()
    for second in (60, 120):
        stage.fire(second)
    assert stage.outcomes(schedule_id) == [(60, FIRED), (120, SKIPPED)]
    first = stage.fires(schedule_id)[0].job_id
    _backfill(stage, schedule_id, 60, 180, 10)
    stage.fire_backfills(10_001)
    assert stage.outcomes(schedule_id) == [(60, FIRED), (120, FIRED), (180, FIRED)]
    assert stage.fires(schedule_id)[0].job_id == first


def test_jobs_of_a_backfill_are_in_nobody_s_way(stage: ScheduleStage) -> None:
    """Nor does a fire that waits for another job wait for them."""
    schedule_id = stage.make(starts_at=NOW, now=at(9_990), overlap=Overlap.QUEUE)
    _backfill(stage, schedule_id, 60, 360, 2)
    stage.fire_backfills(10_001)
    stage.fire(10_020)
    assert stage.outcomes(schedule_id)[-1] == (10_020, FIRED)


def test_two_schedulers_keep_a_backfill_s_limit(stage: ScheduleStage) -> None:
    schedule_id = stage.make(starts_at=NOW, now=at(9_990))
    _backfill(stage, schedule_id, 60, 6000, 3)
    barrier = threading.Barrier(4)

    def schedule() -> None:
        barrier.wait()
        for _ in range(10):
            stage.fire_backfills(10_001)

    threads = [threading.Thread(target=schedule) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stage.jobs(schedule_id)) == 3

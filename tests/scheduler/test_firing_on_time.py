"""The loop that fires schedules: it sees what is due, wakes the lane of the job, and says what went wrong."""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from schedule_stage import ScheduleStage

from playground import Playground
from steeple import Steeple
from steeple.domain.priority import Lane, Priority
from steeple.domain.schedule import Outcome, Overlap
from steeple.embedded.processes import wait_until
from steeple.store.schedules import ScheduleFilter, clock, read_page

PATIENCE = 30.0

StartScheduler = Callable[..., None]


def make_now(stage: ScheduleStage, name: str = "s", **fields: Any) -> UUID:
    return stage.make(name, now=stage.run(clock), **fields)


def test_a_fire_wakes_its_lane_without_waiting_for_the_next_look_at_jobs(
    stage: ScheduleStage, start_scheduler: StartScheduler, waiting: Callable[[Lane], int]
) -> None:
    stage.playground.worker()
    start_scheduler(wake_interval=3600.0, worker_dead_after=3600.0)
    schedule_id = make_now(stage, interval=1.0, priority=Priority.HIGH, overlap=Overlap.SKIP)
    assert wait_until(lambda: waiting(Lane(None, Priority.HIGH)) > 0, PATIENCE)
    first = stage.fires(schedule_id)[0]
    assert first.outcome is Outcome.FIRED


def test_fires_come_at_their_time_or_soon_after(stage: ScheduleStage, start_scheduler: StartScheduler) -> None:
    start_scheduler()
    made = [make_now(stage, f"s{number}", interval=1.0, overlap=Overlap.ALLOW) for number in range(10)]
    assert wait_until(lambda: all(len(stage.fires(each)) >= 4 for each in made), PATIENCE)
    late = [(fire.at - fire.time).total_seconds() for each in made for fire in stage.fires(each)[1:]]
    assert min(late) >= 0
    assert sorted(late)[len(late) // 2] < 10


def test_what_goes_wrong_is_logged(
    stage: ScheduleStage, start_scheduler: StartScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    make_now(stage, "wrong", interval=1.0, task="nobody")
    late = make_now(stage, "late", interval=1.0)
    stage.playground.sql("UPDATE schedules SET next_due = next_due - interval '1 h' WHERE id = :id", id=late)
    stage.playground.sql("UPDATE schedules SET next_time = next_due WHERE id = :id", id=late)
    start_scheduler()
    assert wait_until(lambda: {"fire_failed", "fires_missed"} <= _events(caplog), PATIENCE)


def test_a_scheduler_with_an_app_keeps_its_schedules_and_knows_its_tasks(
    playground: Playground, start_scheduler: StartScheduler
) -> None:
    app = Steeple()
    app.schedule("declared", interval=1)(app.task("of.the.app")(lambda: None))
    start_scheduler(app=app)

    def jobs() -> int:
        return int(playground.value("SELECT count(*) FROM jobs WHERE task = 'of.the.app'"))

    assert wait_until(lambda: jobs() > 0, PATIENCE)
    with playground.engine.begin() as connection:
        (found,), _ = read_page(connection, ScheduleFilter(), limit=10)
    assert found.definition == app.schedules["declared"]


def _events(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)}

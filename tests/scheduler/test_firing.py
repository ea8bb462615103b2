"""What fires come to: on time, late, overlapping, wrong, all at once, by several schedulers."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from schedule_stage import ScheduleStage

from playground import NOW, at
from steeple.domain.priority import Lane, Priority
from steeple.domain.schedule import CatchUp, Outcome, Overlap
from steeple.domain.states import State
from steeple.domain.statistics import CounterName
from steeple.schedule_changes import change, pause, resume
from steeple.store import counters
from steeple.store.fires import forget, outlook

FIRED, QUEUED, SKIPPED = Outcome.FIRED, Outcome.QUEUED, Outcome.SKIPPED


def test_a_fire_makes_the_job_that_its_schedule_says(stage: ScheduleStage) -> None:
    schedule_id = stage.make(args='{"n": 1.50}', queue="reports", priority=Priority.LOW)
    assert stage.fire(59.9).taken == 0
    fired = stage.fire(60.2)
    assert (fired.taken, fired.lanes) == (1, {Lane("reports", Priority.LOW): 1})
    (fire,) = stage.fires(schedule_id)
    assert (fire.time, fire.outcome, fire.at) == (at(60), FIRED, at(60.2))
    assert fire.job_id is not None
    job = stage.playground.read(fire.job_id)
    assert (job.task, job.args, job.schedule_id, job.state) == ("t", '{"n": 1.50}', schedule_id, State.PENDING)
    assert (job.timeout, job.max_attempts, job.run_at, job.created_at) == (60.0, 4, at(60.2), at(60.2))
    assert stage.read(schedule_id).next_time == at(120)


def test_a_time_is_fired_once(stage: ScheduleStage) -> None:
    """Also where a schedule comes to it again, as it was changed there and back."""
    schedule_id = stage.make(overlap=Overlap.ALLOW, starts_at=NOW)
    stage.fire(60)
    stage.playground.sql("UPDATE schedules SET next_time = :time, next_due = :time", time=at(60))
    assert stage.fire(61).taken == 1
    assert stage.outcomes(schedule_id) == [(60, FIRED)]
    assert len(stage.jobs(schedule_id)) == 1


def test_four_schedulers_make_one_job_of_each_fire(stage: ScheduleStage) -> None:
    made = [stage.make(f"s{number}", overlap=Overlap.ALLOW) for number in range(40)]
    barrier = threading.Barrier(4)

    def schedule() -> None:
        barrier.wait()
        for second in range(60, 300, 5):
            stage.fire(second)

    threads = [threading.Thread(target=schedule) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for schedule_id in made:
        assert stage.outcomes(schedule_id) == [(60, FIRED), (120, FIRED), (180, FIRED), (240, FIRED)]
        jobs = {job.id for job in stage.jobs(schedule_id)}
        assert jobs == {fire.job_id for fire in stage.fires(schedule_id)}


def test_a_transaction_that_fails_leaves_neither_fire_nor_job(stage: ScheduleStage) -> None:
    schedule_id = stage.make()
    with pytest.raises(ZeroDivisionError):
        stage.run(lambda connection: (stage.fire_in(connection, 60), 1 / 0))
    assert (stage.fires(schedule_id), stage.jobs(schedule_id)) == ([], [])
    assert stage.fire(60).taken == 1


def test_skip_leaves_out_what_meets_an_earlier_job(stage: ScheduleStage) -> None:
    schedule_id = stage.make(overlap=Overlap.SKIP)
    for second in (60, 120):
        stage.fire(second)
    stage.end(stage.jobs(schedule_id)[0].id)
    stage.fire(180)
    assert stage.outcomes(schedule_id) == [(60, FIRED), (120, SKIPPED), (180, FIRED)]
    assert "had not ended" in str(stage.fires(schedule_id)[1].why)


def test_allow_lets_them_be(stage: ScheduleStage) -> None:
    schedule_id = stage.make(overlap=Overlap.ALLOW)
    for second in (60, 120, 180):
        stage.fire(second)
    assert stage.outcomes(schedule_id) == [(60, FIRED), (120, FIRED), (180, FIRED)]


def test_queue_keeps_one_until_the_earlier_job_has_ended(stage: ScheduleStage) -> None:
    schedule_id = stage.make(overlap=Overlap.QUEUE)
    for second in (60, 120, 180):
        stage.fire(second)
    assert stage.outcomes(schedule_id) == [(60, FIRED), (120, QUEUED), (180, SKIPPED)]
    assert stage.run(outlook).has_waiting
    assert stage.fire_waiting(190).taken == 0
    stage.end(stage.jobs(schedule_id)[0].id)
    assert stage.fire_waiting(200).lanes == {Lane("default", Priority.DEFAULT): 1}
    assert stage.outcomes(schedule_id) == [(60, FIRED), (120, FIRED), (180, SKIPPED)]
    waited = stage.fires(schedule_id)[1]
    assert (waited.job_id, waited.at) == (stage.jobs(schedule_id)[1].id, at(200))
    assert stage.fire_waiting(201).taken == 0
    assert not stage.run(outlook).has_waiting


def test_cancel_asks_the_running_job_to_stop_and_waits_for_that(stage: ScheduleStage) -> None:
    schedule_id = stage.make(overlap=Overlap.CANCEL)
    stage.fire(60)
    (first,) = stage.jobs(schedule_id)
    stage.begin(first.id)
    for second in (120, 180):
        stage.fire(second)
    assert stage.jobs(schedule_id)[0].cancel_requested_at is not None
    assert stage.outcomes(schedule_id) == [(60, FIRED), (120, Outcome.CANCELLED), (180, QUEUED)]
    assert stage.fire_waiting(190).taken == 0
    stage.end(first.id)
    stage.fire_waiting(200)
    assert stage.outcomes(schedule_id)[2] == (180, FIRED)
    assert len(stage.jobs(schedule_id)) == 2


def test_cancel_takes_a_pending_job_back_at_once(stage: ScheduleStage) -> None:
    schedule_id = stage.make(overlap=Overlap.CANCEL)
    stage.fire(60)
    stage.fire(120)
    stage.fire_waiting(120)
    assert [job.state for job in stage.jobs(schedule_id)] == ["CANCELLED", "PENDING"]


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        (Overlap.SKIP, [FIRED, SKIPPED, SKIPPED, SKIPPED]),
        (Overlap.ALLOW, [FIRED, FIRED, FIRED, FIRED]),
        (Overlap.QUEUE, [FIRED, QUEUED, SKIPPED, SKIPPED]),
        (Overlap.CANCEL, [FIRED, Outcome.CANCELLED, Outcome.CANCELLED, QUEUED]),
    ],
)
def test_fires_that_are_made_up_together_overlap_too(
    stage: ScheduleStage, overlap: Overlap, expected: list[Outcome]
) -> None:
    schedule_id = stage.make(overlap=overlap, catch_up=CatchUp.ALL)
    stage.fire(250)
    assert [outcome for _, outcome in stage.outcomes(schedule_id)] == expected
    stage.fire_waiting(251)
    active = sum(job.state == "PENDING" for job in stage.jobs(schedule_id))
    assert active == (4 if overlap is Overlap.ALLOW else 1)


def test_a_pause_without_schedulers_is_made_up_by_the_last_and_the_rest_is_told(stage: ScheduleStage) -> None:
    schedule_id = stage.make(catch_up=CatchUp.LAST)
    fired = stage.fire(3601)
    assert stage.outcomes(schedule_id) == [(60, Outcome.MISSED), (3600, FIRED)]
    assert "2026-11-24T13:00:00Z" in str(stage.fires(schedule_id)[0].why)
    assert len(fired.missed) == 1
    assert stage.run(counters.totals)[CounterName.MISSED_FIRES] == 1


def test_or_by_none(stage: ScheduleStage) -> None:
    schedule_id = stage.make(catch_up=CatchUp.NONE)
    stage.fire(3630)
    assert stage.outcomes(schedule_id) == [(60, Outcome.MISSED)]
    stage.fire(3660)
    assert stage.outcomes(schedule_id) == [(60, Outcome.MISSED), (3660, FIRED)]


def test_or_by_all_in_several_rounds(stage: ScheduleStage) -> None:
    schedule_id = stage.make(interval=1.0, catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    while stage.fire(250).taken:
        assert len(stage.jobs(schedule_id)) <= 250
    assert stage.outcomes(schedule_id) == [(second, FIRED) for second in range(1, 251)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"task": "nobody"}, "no task named 'nobody'"), ({"args": '{"bad": 1}'}, "/args/bad")],
)
def test_one_that_can_make_no_job_says_so_and_stops_no_other(
    stage: ScheduleStage, fields: dict[str, Any], words: str
) -> None:
    wrong, right = stage.make("wrong", **fields), stage.make("right")
    fired = stage.fire(60)
    assert [each.key.schedule_id for each in fired.failures] == [wrong]
    assert stage.outcomes(wrong) == [(60, Outcome.FAILED)]
    assert words in str(stage.fires(wrong)[0].why)
    assert stage.outcomes(right) == [(60, FIRED)]
    assert stage.read(wrong).next_time == at(120)
    assert stage.run(counters.totals)[CounterName.FAILED_FIRES] == 1


def test_one_whose_rule_cannot_be_read_any_more_says_so_and_fires_no_more(stage: ScheduleStage) -> None:
    wrong, right = stage.make("wrong", cron="@hourly"), stage.make("right", interval=3600.0)
    stage.playground.sql("UPDATE schedules SET timezone = 'Mars/Olympus' WHERE id = :id", id=wrong)
    stage.fire(3600)
    (fire,) = stage.fires(wrong)
    assert (fire.outcome, stage.read(wrong).next_time) == (Outcome.FAILED, None)
    assert "Mars/Olympus" in str(fire.why)
    assert stage.outcomes(right) == [(3600, FIRED)]


def test_a_paused_schedule_rests_and_goes_on_from_then_on(stage: ScheduleStage) -> None:
    schedule_id = stage.make(catch_up=CatchUp.ALL)
    stage.run(lambda connection: pause(connection, schedule_id, "not now"))
    assert stage.fire(200).taken == 0
    stage.run(lambda connection: resume(connection, schedule_id, now=at(210)))
    stage.fire(239)
    stage.fire(240)
    assert stage.outcomes(schedule_id) == [(240, FIRED)]


def test_a_changed_rule_begins_anew_and_other_changes_leave_the_time(stage: ScheduleStage) -> None:
    schedule_id = stage.make()
    stage.run(
        lambda connection: change(
            connection, schedule_id, lambda found: replace(found.definition, args='{"n": 2}'), now=at(30)
        )
    )
    assert stage.read(schedule_id).next_time == at(60)
    stage.run(
        lambda connection: change(
            connection, schedule_id, lambda found: replace(found.definition, interval=50.0), now=at(30)
        )
    )
    assert stage.read(schedule_id).next_time == at(80)
    assert stage.read(schedule_id).version == 3


def test_jitter_delays_the_fire_and_not_its_name(stage: ScheduleStage) -> None:
    schedule_id = stage.make(jitter=30.0)
    due = stage.read(schedule_id).next_due
    assert due is not None
    late = (due - NOW).total_seconds()
    assert 60 < late < 90
    assert stage.fire(late - 0.001).taken == 0
    stage.fire(late)
    assert stage.outcomes(schedule_id) == [(60, FIRED)]


def test_the_outlook_is_the_next_that_is_due(stage: ScheduleStage) -> None:
    assert stage.run(outlook).next_in is None
    stage.make("a", interval=90.0)
    stage.make("b", interval=60.0)
    stage.make("c", interval=30.0, paused=True)
    stage.make("d", times=(at(-5),))
    assert stage.run(lambda connection: outlook(connection, now=NOW)).next_in == 60


def test_old_fires_are_forgotten_and_waiting_ones_kept(stage: ScheduleStage) -> None:
    schedule_id = stage.make(overlap=Overlap.QUEUE)
    for second in (60, 120, 180):
        stage.fire(second)
    day = timedelta(days=1).total_seconds()
    assert stage.run(lambda connection: forget(connection, day, limit=10, now=at(100 + day))) == 1
    assert stage.run(lambda connection: forget(connection, day, limit=10, now=at(1000 + day))) == 1
    assert stage.outcomes(schedule_id) == [(120, QUEUED)]

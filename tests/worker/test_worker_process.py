"""A real worker on a real broker: what a user sees of running, failing, stopping and dying."""

import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from watching import Watcher, WorkerProcess

from steeple import Handle, Settings, State
from steeple.broker.celery_app import WAKE_TASK, make_celery, queue_name
from steeple.domain.priority import Lane, Priority
from steeple.embedded.processes import is_alive, wait_until

Start = Callable[..., WorkerProcess]
QUICK = {"STEEPLE_KILL_AFTER": "0.5", "STEEPLE_SHUTDOWN_GRACE": "0.5"}


def _error(job: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(job.error)
    return found


def test_a_job_runs_and_a_wake_up_is_all_it_needs(start_worker: Start, watch: Watcher) -> None:
    start_worker("--slots", "1")
    handle = watch.submit("echo", {"value": {"big": 12345678901234567890, "exact": 0.1}})
    job = watch.ended(handle)
    assert (job.state, job.attempt, job.fence) == (State.SUCCESS, 1, 1)
    assert job.result == '{"big":12345678901234567890,"exact":0.1}'
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.started_at <= job.finished_at


def test_a_submit_from_python_wakes_the_worker_by_itself(start_worker: Start, watch: Watcher) -> None:
    start_worker("--slots", "1")
    handle = watch.submit("echo", {"value": 1})
    assert handle.result(timeout=20) == 1


def test_every_job_of_a_backlog_runs_once(start_worker: Start, watch: Watcher, tmp_path: Path) -> None:
    start_worker("--slots", "2")
    notes = tmp_path / "notes"
    handles = [watch.submit("note", {"path": str(notes), "text": str(number)}) for number in range(300)]
    watch.ended(handles[-1])
    assert wait_until(lambda: all(watch.read(handle).state is State.SUCCESS for handle in handles), 20)
    assert sorted(map(int, notes.read_text().split())) == list(range(300))


def test_progress_and_logs_are_there_while_the_task_runs(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1")
    handle = watch.submit("steps", {"count": 100})
    watch.until(handle, State.RUNNING)
    assert wait_until(lambda: watch.read(handle).progress is not None, 10)
    assert json.loads(watch.read(handle).progress or "")["text"].startswith("step ")
    assert watch.read(handle).state is State.RUNNING
    watch.ended(handle)
    lines = worker.query("SELECT fields ->> 'number' FROM job_logs WHERE job_id = %s ORDER BY id", handle.id)
    assert [int(str(line[0])) for line in lines] == list(range(100))
    assert json.loads(watch.read(handle).progress or "")["text"] == "step 99"


def test_retries_come_to_an_end_and_every_failure_is_kept(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1")
    handle = watch.submit("fail", {"message": "no 😀 luck"})
    job = watch.ended(handle)
    assert (job.state, job.attempt, _error(job)["reason"]) == (State.FAILED, 3, "exception")
    assert _error(job)["type"] == "ValueError"
    assert "in fail" in _error(job)["traceback"]
    assert "perform.py" not in _error(job)["traceback"]
    attempts = worker.query("SELECT attempt, state::text FROM attempts WHERE job_id = %s ORDER BY fence", handle.id)
    assert attempts == [(1, "FAILED"), (2, "FAILED"), (3, "FAILED")]


def test_a_task_may_reject_or_choose_its_own_delay(start_worker: Start, watch: Watcher) -> None:
    start_worker("--slots", "1")
    rejected = watch.ended(watch.submit("reject"))
    patient = watch.ended(watch.submit("retry_in"))
    assert (rejected.state, rejected.attempt, _error(rejected)["reason"]) == (State.FAILED, 1, "rejected")
    assert (patient.state, patient.result) == (State.SUCCESS, "3")


def test_sys_exit_ends_the_attempt_and_not_the_slot(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1")
    slots = worker.slots()
    job = watch.ended(watch.submit("leave", max_attempts=1))
    assert (job.state, _error(job)["type"]) == (State.FAILED, "SystemExit")
    assert worker.slots() == slots


@pytest.mark.parametrize(
    ("what", "reason"),
    [("nan", "bad_result"), ("object", "bad_result"), ("surrogate", "bad_result"), ("big", "result_too_large")],
)
def test_a_result_that_cannot_be_kept_fails_the_job_and_the_slot_lives(
    start_worker: Start, watch: Watcher, what: str, reason: str
) -> None:
    worker = start_worker("--slots", "1")
    slots = worker.slots()
    job = watch.ended(watch.submit("give", {"what": what}))
    assert (job.state, job.attempt, _error(job)["reason"]) == (State.FAILED, 1, reason)
    assert worker.slots() == slots


def test_a_crash_is_reported_at_once_and_the_job_runs_again(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1")
    handle = watch.submit("crash", {"times": 1})
    job = watch.ended(handle, patience=15)
    assert (job.state, job.attempt, job.crashes, job.result) == (State.SUCCESS, 2, 1, "2")
    errors = worker.query("SELECT error ->> 'reason' FROM attempts WHERE job_id = %s", handle.id)
    assert errors == [("crash",)]


def test_a_job_that_keeps_crashing_fails_after_three(start_worker: Start, watch: Watcher) -> None:
    start_worker("--slots", "1")
    job = watch.ended(watch.submit("crash", {"times": 99}, max_attempts=10))
    assert (job.state, job.crashes, job.attempt, _error(job)["reason"]) == (State.FAILED, 3, 3, "crash")


@pytest.mark.parametrize("task", ["until_cancelled", "until_cancelled_async"])
def test_cancelling_raises_inside_the_task(start_worker: Start, watch: Watcher, tmp_path: Path, task: str) -> None:
    start_worker("--slots", "1")
    path = tmp_path / "seen"
    handle = watch.submit(task, {"path": str(path)})
    watch.until(handle, State.RUNNING)
    handle.cancel()
    job = watch.ended(handle, patience=8)
    assert job.state is State.CANCELLED
    assert path.read_text() in {"Cancelled cancelled=True", "AsyncCancelled"}


@pytest.mark.parametrize("task", ["until_cancelled", "until_cancelled_async"])
def test_a_timeout_stops_the_task_and_is_retried(
    start_worker: Start, watch: Watcher, tmp_path: Path, task: str
) -> None:
    worker = start_worker("--slots", "1")
    path = tmp_path / "seen"
    handle = watch.submit(task, {"path": str(path)}, timeout=0.3, max_attempts=2)
    worker.query('UPDATE jobs SET retry = \'{"max_attempts": 2, "initial": 0.01}\' WHERE id = %s', handle.id)
    job = watch.ended(handle, patience=15)
    assert (job.state, job.attempt, _error(job)["reason"]) == (State.FAILED, 2, "timeout")
    assert path.read_text() in {"TimedOut cancelled=True", "AsyncTimedOut"}


def test_a_task_deaf_to_the_signal_is_killed_with_its_slot(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1", **QUICK)
    (slot,) = worker.slots()
    late = watch.ended(watch.submit("deaf", {"seconds": 60}, timeout=0.3, max_attempts=1), patience=15)
    cancelled = watch.submit("deaf", {"seconds": 60})
    watch.until(cancelled, State.RUNNING)
    cancelled.cancel()
    assert watch.ended(cancelled, patience=15).state is State.CANCELLED
    assert (late.state, late.crashes, _error(late)["reason"]) == (State.FAILED, 0, "timeout")
    assert slot not in worker.slots()
    assert watch.ended(watch.submit("echo", {"value": "alive"})).result == '"alive"'


def test_sigterm_lets_running_tasks_end(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1")
    handle = watch.submit("nap", {"seconds": 1.0})
    watch.until(handle, State.RUNNING)
    assert worker.stop() == 0
    assert (watch.read(handle).state, watch.read(handle).result) == (State.SUCCESS, '"rested"')
    assert worker.query("SELECT count(*) FROM workers WHERE ended_at IS NULL") == [(0,)]


@pytest.mark.parametrize("task", ["nap", "deaf"])
def test_after_the_grace_a_job_goes_back_without_a_count(start_worker: Start, watch: Watcher, task: str) -> None:
    worker = start_worker("--slots", "1", **QUICK)
    handle = watch.submit(task, {"seconds": 60})
    watch.until(handle, State.RUNNING)
    assert worker.stop() == 0
    job = watch.read(handle)
    assert (job.state, job.attempt, job.crashes, job.fence, job.worker) == (State.PENDING, 0, 0, 2, None)


def test_a_second_signal_ends_the_grace(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1")
    handle = watch.submit("nap", {"seconds": 60})
    watch.until(handle, State.RUNNING)
    worker.process.send_signal(signal.SIGINT)
    assert wait_until(lambda: "worker_draining" in worker.said, 10)
    worker.process.send_signal(signal.SIGINT)
    assert worker.process.wait(15) == 0
    assert watch.read(handle).state is State.PENDING


def test_slots_end_with_their_worker_whatever_kills_it(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "2")
    slots = worker.slots()
    worker.kill()
    assert wait_until(lambda: not any(map(is_alive, slots)), 5)


def test_a_bound_worker_leaves_other_lanes_alone(start_worker: Start, watch: Watcher) -> None:
    start_worker("--slots", "1", "--queues", "mail,reports", "--priorities", "high")
    lane = Lane("mail", Priority.HIGH)
    mine = watch.submit("echo", {"value": 1}, queue="reports", priority="high")
    others = [watch.submit("echo", queue="mail"), watch.submit("echo", priority="high")]

    def is_done(job: Handle) -> bool:
        watch.wake(lane)
        return watch.read(job).state is State.SUCCESS

    assert wait_until(lambda: is_done(mine), 15)
    last = watch.submit("echo", queue="mail", priority="high")
    assert wait_until(lambda: is_done(last), 15)
    assert [watch.read(other).state for other in others] == [State.PENDING, State.PENDING]


def test_a_worker_taken_for_dead_begins_anew_and_drops_what_it_ran(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1", STEEPLE_HEARTBEAT_INTERVAL="0.3")
    handle = watch.submit("nap", {"seconds": 60})
    watch.until(handle, State.RUNNING)
    worker.query("UPDATE workers SET ended_at = now()")
    worker.query("UPDATE jobs SET state = 'PENDING', fence = fence + 1, run_at = now() + interval '1 h'")
    assert wait_until(lambda: "worker_taken_for_dead" in worker.said, 10)
    assert watch.ended(watch.submit("echo", {"value": "again"})).result == '"again"'
    assert (watch.read(handle).state, watch.read(handle).fence) == (State.PENDING, 2)
    assert worker.query("SELECT count(*) FROM workers WHERE ended_at IS NULL") == [(1,)]


def test_forged_messages_are_dropped_and_counted(start_worker: Start, watch: Watcher, settings: Settings) -> None:
    worker = start_worker("--slots", "1", STEEPLE_HEARTBEAT_INTERVAL="0.3")
    celery = make_celery(settings)
    queue = celery.amqp.queues.select_add(queue_name(Lane(None, Priority.DEFAULT)))
    forged: list[tuple[str, dict[str, Any]]] = [
        ("os.system", {}),
        ("celery.backend_cleanup", {}),
        (WAKE_TASK, {"version": 99, "queue": None, "priority": "high"}),
        (WAKE_TASK, {"version": 1, "queue": "../..", "priority": "urgent"}),
        (WAKE_TASK, {}),
    ]
    for task, keywords in forged:
        celery.send_task(task, kwargs=keywords, queue=queue)
    celery.send_task(WAKE_TASK, args=[1, 2], queue=queue)
    with celery.connection_for_write() as connection:
        producer = connection.Producer(auto_declare=False)
        producer.publish(
            b"\x80\x04N.", queue_name(Lane(None, Priority.DEFAULT)), content_type="application/x-python-serialize"
        )
        producer.publish("no message of Celery's", queue_name(Lane(None, Priority.DEFAULT)))
    total = "SELECT value FROM counters WHERE name = 'dropped_wake_ups'"
    assert wait_until(lambda: worker.query(total) == [(8,)], 15), (worker.query(total), worker.said)
    assert watch.ended(watch.submit("echo", {"value": "well"})).result == '"well"'


def test_a_claim_that_no_slot_knows_of_goes_back(start_worker: Start, watch: Watcher) -> None:
    """As when the server crashed before a release was on its disk."""
    worker = start_worker("--slots", "1", STEEPLE_HEARTBEAT_INTERVAL="0.3")
    handle = watch.submit("echo", {"value": "found"}, run_at=datetime.now(UTC) + timedelta(hours=1))
    worker.query(
        "UPDATE jobs SET state = 'RUNNING', fence = 7, attempt = 1, started_at = now() - interval '1 min', slot = 0,"
        " run_at = now(), worker_id = (SELECT id FROM workers) WHERE id = %s",
        handle.id,
    )
    job = watch.ended(handle, patience=15)
    assert (job.state, job.attempt, job.fence, job.crashes) == (State.SUCCESS, 1, 9, 0)


def test_a_task_whose_claim_is_gone_is_stopped(start_worker: Start, watch: Watcher, tmp_path: Path) -> None:
    """As when the server crashed before the claim was on its disk: another worker may have the job by now."""
    worker = start_worker("--slots", "1", STEEPLE_HEARTBEAT_INTERVAL="0.3")
    path = tmp_path / "seen"
    handle = watch.submit("until_cancelled", {"path": str(path)})
    watch.until(handle, State.RUNNING)
    worker.query("UPDATE jobs SET state = 'PENDING', attempt = 0, fence = 0, run_at = now() + interval '1 h'")
    assert wait_until(lambda: path.exists() and path.read_text().startswith("Cancelled"), 20)
    assert watch.read(handle).state is State.PENDING


def test_one_coroutine_of_many_can_be_cancelled(start_worker: Start, watch: Watcher, tmp_path: Path) -> None:
    start_worker("--slots", "1")
    others = [watch.submit("doze", {"seconds": 3}) for _ in range(20)]
    handle = watch.submit("until_cancelled_async", {"path": str(tmp_path / "seen")})
    watch.until(handle, State.RUNNING)
    handle.cancel()
    assert watch.ended(handle, patience=10).state is State.CANCELLED
    assert all(watch.ended(other).state is State.SUCCESS for other in others)


def test_a_coroutine_that_blocks_its_loop_is_killed_and_the_others_run_again_uncounted(
    start_worker: Start, watch: Watcher
) -> None:
    start_worker("--slots", "1", **QUICK)
    others = [watch.submit("doze", {"seconds": 3}) for _ in range(3)]
    for other in others:
        watch.until(other, State.RUNNING)
    blocking = watch.submit("block_async", {"seconds": 60}, timeout=0.3, max_attempts=1)
    job = watch.ended(blocking, patience=15)
    assert (job.state, _error(job)["reason"]) == (State.FAILED, "timeout")
    for other in others:
        ended = watch.ended(other)
        assert (ended.state, ended.attempt, ended.crashes) == (State.SUCCESS, 1, 0)


def test_shutting_down_waits_for_coroutines_too(start_worker: Start, watch: Watcher) -> None:
    worker = start_worker("--slots", "1")
    handle = watch.submit("doze", {"seconds": 1})
    watch.until(handle, State.RUNNING)
    assert worker.stop() == 0
    assert watch.read(handle).state is State.SUCCESS


def test_redis_is_told_nothing_of_a_wake_up_that_was_taken(
    start_worker: Start, watch: Watcher, settings: Settings
) -> None:
    """That it came and that it was heard would be two round trips each, and a slot would wait for the first."""
    with make_celery(settings) as celery, celery.connection_for_read() as connection:
        client = connection.default_channel.client
        client.config_resetstat()
        start_worker("--slots", "1")
        watch.ended(watch.submit("echo", {"value": 1}))
        statistics = client.info("commandstats")
    assert "cmdstat_brpop" in statistics
    assert {"cmdstat_zadd", "cmdstat_hset", "cmdstat_zrem"} & set(statistics) == set()

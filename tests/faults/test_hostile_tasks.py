"""Tasks that will not stop: past their timeout or cancelled, all of them end, and so does what they started."""

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from fleet import QUICK
from stage import Stage

from steeple.embedded.processes import is_alive, wait_until

TIMEOUT = 0.5
STAGES = ("requested_at", "signalled_at", "killed_at")
IN_TIME = float(QUICK["STEEPLE_KILL_AFTER"]) + 2.0
"""After the timeout, or the request to cancel: in production, 10 s + 2 s."""

SLACK = 10.0
"""For a machine under load; much shorter than a hung connection is waited for."""

DEAF = {"hogs the interpreter in C", "masks signals"}
"""These have to be killed."""

HOSTILE: dict[str, tuple[str, dict[str, object]]] = {
    "sleeps": ("fault.sleep", {"seconds": 60}),
    "hogs the interpreter in C": ("fault.hog", {}),
    "masks signals": ("fault.deaf", {"seconds": 60}),
    "has grandchildren": ("fault.spawn", {"seconds": 60}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_task_past_its_timeout(stage: Stage, what: str) -> None:
    task, args = HOSTILE[what]
    with stage.load():
        job_id = stage.begun(task, args, timeout=TIMEOUT, max_attempts=1, priority="high")
        job = stage.wait_ended(job_id)
        started = stage.spawned(job_id)
        assert wait_until(lambda: not any(map(is_alive, started)), IN_TIME), started
    assert (job["state"], job["error"]["reason"], job["attempt"], job["crashes"]) == ("FAILED", "timeout", 1, 0)
    assert _seconds(job, "started_at", "finished_at") < TIMEOUT + IN_TIME
    _check_stages(stage, job, "timeout", is_killed=what in DEAF)


@pytest.mark.soak
@pytest.mark.parametrize("what", HOSTILE)
def test_task_cancelled(stage: Stage, what: str) -> None:
    task, args = HOSTILE[what]
    with stage.load():
        job_id = stage.begun(task, args, priority="high")
        assert stage.cancel(job_id) == 202
        job = stage.wait_ended(job_id)
        started = stage.spawned(job_id)
        assert wait_until(lambda: not any(map(is_alive, started)), IN_TIME), started
    assert (job["state"], job["error"], job["attempt"], job["crashes"]) == ("CANCELLED", None, 1, 0)
    assert _seconds(job, "cancel_requested_at", "finished_at") < IN_TIME
    _check_stages(stage, job, "cancel", is_killed=what in DEAF)


def _check_stages(stage: Stage, job: dict[str, Any], reason: str, *, is_killed: bool) -> None:
    """They stand on the job, in order; if the task ended at once, a moment after its outcome."""
    job_id = UUID(job["id"])
    assert wait_until(lambda: stage.job(job_id)["stop"] is not None, IN_TIME)
    stop = stage.job(job_id)["stop"]
    assert (stop["reason"], stop["killed_at"] is not None) == (reason, is_killed)
    times = [datetime.fromisoformat(stop[each]) for each in STAGES if stop[each] is not None]
    assert times == sorted(times)


def _seconds(job: dict[str, Any], since: str, until: str) -> float:
    return (datetime.fromisoformat(job[until]) - datetime.fromisoformat(job[since])).total_seconds()


def test_a_timeout_does_not_wait_for_a_database_that_hangs(stage: Stage) -> None:
    """What stops a task needs no database; only its outcome has to wait."""
    with stage.load():
        job_id = stage.begun("fault.deaf", {"seconds": 60}, timeout=2.0, max_attempts=1, priority="high")
        slot = stage.slot_of(job_id)
        with stage.trouble(), stage.servers.database_line.stalled():
            assert wait_until(lambda: not is_alive(slot), 2.0 + IN_TIME + SLACK), stage.fleet.said
        job = stage.wait_ended(job_id)
    assert (job["error"]["reason"], job["stop"]["killed_at"] is not None) == ("timeout", True)

"""Schedules with real processes: several schedulers, none for a while, killed ones; each fire once."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from parts import Part, free_port
from playground import Playground
from steeple.embedded.processes import wait_until

APP = "steeple.demo.tasks:app"
PATIENCE = 60.0
SECOND = timedelta(seconds=1)

_FIRES = """
SELECT time, outcome, why, job_id, at FROM fires WHERE schedule_id = :id ORDER BY time
"""
_OVERDUE = "SELECT min(next_due) < now() - interval '3 s' FROM schedules WHERE NOT paused"


class Fleet:
    """An api and a worker, and as many schedulers as the test starts."""

    def __init__(self, folder: Path, database_url: str, broker_url: str) -> None:
        self._folder = folder
        port = free_port()
        self._own = {
            "STEEPLE_DATABASE_URL": database_url,
            "STEEPLE_BROKER_URL": broker_url,
            "STEEPLE_PORT": str(port),
            "STEEPLE_KILL_AFTER": "2s",
        }
        self.parts: list[Part] = []
        self.playground = Playground(database_url)
        self.api = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
        self.start("api", APP)
        self.start("worker", APP, "--slots", "2")
        assert wait_until(self._is_ready, PATIENCE), self.said

    def start(self, *words: str) -> Part:
        part = Part(words, self._folder / f"{len(self.parts)}-{words[0]}.log", self._own)
        self.parts.append(part)
        return part

    def schedulers(self, count: int) -> list[Part]:
        return [self.start("scheduler") for _ in range(count)]

    @property
    def said(self) -> str:
        return "\n".join(f"--- {part.words}\n{part.said}" for part in self.parts)

    def make(self, name: str, **fields: Any) -> str:
        given = {"name": name, "task": "demo.noop", "interval": 1, "overlap": "allow"} | fields
        reply = self.api.post("/v1/schedules", json=given)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    def fires(self, schedule_id: str) -> Sequence[Any]:
        return self.playground.sql(_FIRES, id=schedule_id)

    def has_fired(self, schedule_id: str, times: int) -> bool:
        fired = [fire for fire in self.fires(schedule_id) if fire.outcome == "fired"]
        return len(fired) >= times

    def pause_all(self) -> None:
        """So that what is compared holds still."""
        self.playground.sql("UPDATE schedules SET paused = true")

    def jobs(self, schedule_id: str) -> list[Any]:
        jobs = self.playground.sql("SELECT id, state FROM jobs WHERE schedule_id = :id ORDER BY id", id=schedule_id)
        return list(jobs)

    def close(self) -> None:
        for part in self.parts:
            part.process.terminate()
        for part in self.parts:
            part.process.wait(PATIENCE)
        self.api.close()
        self.playground.engine.dispose()

    def _is_ready(self) -> bool:
        try:
            return bool(self.api.get("/v1/workers").json()["workers"])
        except httpx2.TransportError:
            return False


@pytest.fixture
def fleet(tmp_path: Path, database_url: str, broker_url: str) -> Iterator[Fleet]:
    found = Fleet(tmp_path, database_url, broker_url)
    yield found
    found.close()


def assert_each_once(fleet: Fleet, schedule_id: str) -> None:
    """No time is left out, and each that fired has a job of its own."""
    fires = fleet.fires(schedule_id)
    times = [fire.time for fire in fires]
    assert {later - earlier for earlier, later in pairwise(times)} <= {SECOND}
    made = [fire.job_id for fire in fires if fire.outcome == "fired"]
    assert sorted(made) == [job.id for job in fleet.jobs(schedule_id)]


def test_four_schedulers_fire_each_time_once(fleet: Fleet) -> None:
    fleet.schedulers(4)
    made = [fleet.make(f"s{number}", catch_up="all") for number in range(20)]
    assert wait_until(lambda: all(fleet.has_fired(each, 5) for each in made), PATIENCE), fleet.said
    fleet.pause_all()
    for schedule_id in made:
        assert_each_once(fleet, schedule_id)
    assert wait_until(lambda: all(job.state == "SUCCESS" for each in made for job in fleet.jobs(each)), PATIENCE)


def test_a_killed_scheduler_is_replaced_and_what_was_missed_made_up_as_each_schedule_says(fleet: Fleet) -> None:
    (scheduler,) = fleet.schedulers(1)
    made = {catch_up: fleet.make(catch_up, catch_up=catch_up) for catch_up in ("all", "last", "none")}
    assert wait_until(lambda: all(fleet.has_fired(each, 2) for each in made.values()), PATIENCE), fleet.said
    scheduler.kill()
    before = {catch_up: len(fleet.fires(each)) for catch_up, each in made.items()}
    assert wait_until(lambda: bool(fleet.playground.value(_OVERDUE)), PATIENCE)
    fleet.schedulers(1)
    assert wait_until(
        lambda: all(fleet.has_fired(each, before[catch_up] + 2) for catch_up, each in made.items()), PATIENCE
    ), fleet.said
    fleet.pause_all()
    assert_each_once(fleet, made["all"])
    assert {fire.outcome for fire in fleet.fires(made["all"])} == {"fired"}
    for catch_up in ("last", "none"):
        fires = fleet.fires(made[catch_up])
        assert [fire.outcome for fire in fires[before[catch_up] :]].count("missed") == 1
        assert sorted(fire.job_id for fire in fires if fire.job_id) == [job.id for job in fleet.jobs(made[catch_up])]
    assert "fires_missed" in fleet.said


def test_a_backfill_goes_on_where_it_was(fleet: Fleet) -> None:
    (scheduler,) = fleet.schedulers(1)
    schedule_id = fleet.make("s", interval=None, cron="0 * * * *", task="demo.sleep", args={"seconds": 0.05})
    asked = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T23:00:00Z", "max_running": 3}
    total = fleet.api.post(f"/v1/schedules/{schedule_id}/backfill", json=asked).json()["total"]
    assert total == 48
    assert wait_until(lambda: fleet.has_fired(schedule_id, 6), PATIENCE), fleet.said
    scheduler.kill()
    fleet.schedulers(2)

    def is_done() -> bool:
        active = sum(job.state in {"PENDING", "RUNNING"} for job in fleet.jobs(schedule_id))
        assert active <= 3
        (backfill,) = fleet.api.get(f"/v1/schedules/{schedule_id}/backfills").json()["backfills"]
        return backfill["finished_at"] is not None and not active

    assert wait_until(is_done, PATIENCE), fleet.said
    fires = [fire for fire in fleet.fires(schedule_id) if fire.time.month == 11 and fire.time.day <= 2]
    assert len(fires) == 48
    assert {fire.job_id for fire in fires} == {job.id for job in fleet.jobs(schedule_id)}


def test_a_fire_cancels_the_job_that_runs_and_its_own_runs_then(fleet: Fleet) -> None:
    fleet.schedulers(2)
    schedule_id = fleet.make("s", overlap="cancel", interval=3, task="demo.wait", args={"seconds": 300})

    def states() -> list[str]:
        return [job.state for job in fleet.jobs(schedule_id)]

    assert wait_until(lambda: states()[:2] == ["CANCELLED", "RUNNING"], PATIENCE), fleet.said
    fleet.pause_all()
    assert states()[0] == "CANCELLED"


def test_one_that_waits_gets_its_job_when_the_earlier_one_has_ended(fleet: Fleet) -> None:
    fleet.schedulers(2)
    schedule_id = fleet.make("s", overlap="queue", interval=1, task="demo.sleep", args={"seconds": 2.5})
    assert wait_until(lambda: fleet.has_fired(schedule_id, 3), PATIENCE), fleet.said
    fleet.pause_all()
    outcomes = [fire.outcome for fire in fleet.fires(schedule_id)]
    assert "skipped" in outcomes
    assert outcomes.count("queued") <= 1
    active = [job.state for job in fleet.jobs(schedule_id)].count("RUNNING")
    assert active <= 1

"""Lanes with due jobs are woken: on time, not too often, whatever becomes of the broker."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from playground import Playground
from steeple import Settings
from steeple.broker.celery_app import make_celery
from steeple.domain.priority import Binding, Lane, Priority
from steeple.embedded.processes import wait_until
from steeple.embedded.valkey import EmbeddedValkey
from steeple.scheduler import wake_due as module
from steeple.scheduler.troubles import Troubles
from steeple.scheduler.wake_due import WakeDue
from steeple.store import queue_settings

Waiting = Callable[[Lane], int]
StartScheduler = Callable[..., None]

PATIENCE = 30.0
EVERY = Lane(None, Priority.DEFAULT)


def wake_due(playground: Playground, settings: Settings) -> WakeDue:
    return WakeDue(playground.engine, settings, Troubles())


def test_due_jobs_wake_a_lane_up_to_its_slots(playground: Playground, settings: Settings, waiting: Waiting) -> None:
    playground.worker(slots=3)
    playground.add_many(2, now=None)
    tick = wake_due(playground, settings)
    counts = []
    for more in (0, 5, 0):
        playground.add_many(more, now=None)
        tick()
        counts.append(waiting(EVERY))
    assert counts == [2, 3, 3]
    tick.close()


def test_a_paused_queue_is_not_woken(playground: Playground, settings: Settings, waiting: Waiting) -> None:
    playground.worker(slots=3)
    playground.add_many(2, queue="a", now=None)
    with playground.engine.begin() as connection:
        queue_settings.pause(connection, "a", by="me")
    tick = wake_due(playground, settings)
    tick()
    assert waiting(EVERY) == 0
    with playground.engine.begin() as connection:
        queue_settings.resume(connection, "a")
    tick()
    assert waiting(EVERY) == 2
    tick.close()


def test_only_lanes_with_workers_are_woken(playground: Playground, settings: Settings, waiting: Waiting) -> None:
    playground.worker(binding=Binding(queues=("a",)))
    for queue in ("a", "b"):
        playground.add(queue=queue, now=None)
    tick = wake_due(playground, settings)
    tick()
    assert [waiting(Lane(queue, Priority.DEFAULT)) for queue in ("a", "b", None)] == [1, 0, 0]
    tick.close()


@pytest.mark.parametrize("gone", ["ended_at = now()", "heartbeat_at = now() - interval '9 s'", "draining = true"])
def test_a_worker_that_takes_no_more_jobs_is_not_woken(
    playground: Playground, settings: Settings, waiting: Waiting, gone: str
) -> None:
    playground.worker()
    playground.sql(f"UPDATE workers SET {gone}")
    playground.add(now=None)
    tick = wake_due(playground, settings)
    tick()
    assert waiting(EVERY) == 0
    tick.close()


def test_the_next_round_is_when_the_next_job_falls_due(
    playground: Playground, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = wake_due(playground, settings.model_copy(update={"wake_interval": 60.0}))
    assert tick() == 60.0
    playground.add(now=None, delay=3600.0)
    assert tick() == 60.0
    playground.add(now=None, delay=30.0)
    assert 0 < tick() <= 30.0
    monkeypatch.setattr(module, "_SOONEST_SECONDS", 45.0)
    assert tick() == 45.0


def test_a_job_wakes_its_lane_when_its_time_comes(
    playground: Playground, start_scheduler: StartScheduler, waiting: Waiting
) -> None:
    """The interval is an hour: what wakes is the job's own time."""
    playground.worker()
    playground.sql("UPDATE workers SET heartbeat_at = now() + interval '1 h'")
    playground.add(now=None, delay=0.7)
    start_scheduler(wake_interval=3600.0)
    assert wait_until(lambda: waiting(EVERY) == 1, PATIENCE)
    assert playground.value("SELECT now() >= run_at FROM jobs")


def test_a_wake_up_that_was_lost_is_sent_again(
    playground: Playground, start_scheduler: StartScheduler, waiting: Waiting, settings: Settings
) -> None:
    playground.worker()
    playground.sql("UPDATE workers SET heartbeat_at = now() + interval '1 h'")
    playground.add(now=None)
    start_scheduler()
    assert wait_until(lambda: waiting(EVERY) == 1, PATIENCE)
    with make_celery(settings) as celery, celery.connection_for_write() as connection:
        connection.default_channel.client.flushdb()
    assert wait_until(lambda: waiting(EVERY) == 1, PATIENCE)


def test_a_broker_that_comes_back_is_used_again_and_its_absence_told_once(
    playground: Playground,
    settings: Settings,
    tmp_path: Path,
    short_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    broker = EmbeddedValkey(tmp_path / "valkey", short_dir)
    playground.worker()
    playground.sql("UPDATE workers SET heartbeat_at = now() + interval '1 h'")
    playground.add(now=None)
    tick = WakeDue(playground.engine, settings.model_copy(update={"broker_url": SecretStr(broker.url())}), Troubles())
    pauses = [tick() for _ in range(3)]
    with broker:
        tick()
        tick.close()
    told = [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]
    assert told == ["trouble_began", "trouble_over"]
    assert pauses == [settings.wake_interval] * 3

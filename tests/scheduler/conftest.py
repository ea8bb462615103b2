"""Schedulers on the playground's database, with a broker whose queues a test can look into."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from schedule_stage import ScheduleStage

from playground import Playground
from steeple import Settings, Steeple
from steeple.broker.celery_app import make_celery, queue_name
from steeple.domain.priority import Lane
from steeple.scheduler.loop import schedule

PATIENCE = 30.0

StartScheduler = Callable[..., None]


@pytest.fixture
def settings(playground: Playground, broker_url: str) -> Settings:
    return Settings(database_url=playground.url, broker_url=broker_url, heartbeat_interval=0.05, worker_dead_after=1.0)


@pytest.fixture
def waiting(broker_url: str) -> Iterator[Callable[[Lane], int]]:
    """How many wake-ups are in a lane."""
    with make_celery(Settings(broker_url=broker_url)) as celery, celery.connection_for_read() as connection:
        client: Any = connection.default_channel.client
        yield lambda lane: int(client.llen(queue_name(lane)))


@pytest.fixture
def start_scheduler(settings: Settings) -> Iterator[StartScheduler]:
    """Starts a scheduler in this process; those that were started are stopped at the end."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(*, app: Steeple | None = None, **changes: Any) -> None:
        changed = settings.model_copy(update=changes)
        threads.append(threading.Thread(target=schedule, args=[changed, app, stop]))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert [thread for thread in threads if thread.is_alive()] == []


@pytest.fixture
def stage(playground: Playground) -> ScheduleStage:
    """Schedules on the playground."""
    return ScheduleStage(playground)

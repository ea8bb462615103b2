"""Wake-ups: as many as there is room for, always after a commit, and ahead of it where it is quiet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from steeple import Settings
from steeple.broker import wake as module
from steeple.broker.celery_app import WAKE_TASK, make_celery, queue_name, read_wake
from steeple.broker.wake import Publisher, Waker
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.waking import Crew, Wakes
from steeple.embedded.processes import wait_until

PATIENCE = 30.0
LANE = Lane("orders", Priority.HIGH)
FLEET = (Crew(Binding(("orders",)), 8),)


@pytest.fixture
def settings(broker_url: str) -> Settings:
    return Settings(broker_url=broker_url)


@pytest.fixture
def client(settings: Settings) -> Iterator["redis.Redis"]:
    """Looks at what is in the broker without taking it."""
    with make_celery(settings) as celery, celery.connection_for_read() as connection:
        yield connection.default_channel.client


@contextmanager
def waker(settings: Settings, when_quiet: Callable[[], None] = lambda: None) -> Iterator[Waker]:
    with Waker(settings, lambda: FLEET, when_quiet) as found:
        yield found


def waiting(client: "redis.Redis") -> int:
    return int(client.llen(queue_name(LANE)))


def test_a_lane_is_filled_up_to_its_slots_whoever_sends(settings: Settings, client: "redis.Redis") -> None:
    senders = [Publisher(make_celery(settings)) for _ in range(2)]
    sent = [sender.publish({LANE: Wakes(jobs, 5)}) for jobs in (2, 9, 1) for sender in senders]
    for sender in senders:
        sender.close()
    assert (sent, waiting(client)) == ([2, 2, 1, 0, 0, 0], 5)


def test_what_is_put_in_is_a_message_of_celery(settings: Settings) -> None:
    publisher = Publisher(make_celery(settings))
    publisher.publish({LANE: Wakes(2, 2)})
    publisher.close()
    found: list[Any] = []
    with make_celery(settings) as celery, celery.connection_for_read() as connection:
        queue = celery.amqp.queues.select_add(queue_name(LANE))(connection.default_channel)
        while (message := queue.get()) is not None:
            found.append(message)
            message.ack()
    assert [message.headers["task"] for message in found] == [WAKE_TASK] * 2
    assert [read_wake((), message.decode()[1]) for message in found] == [LANE, LANE]
    assert len({message.headers["id"] for message in found}) == 2


def test_an_expected_job_wakes_a_slot_before_it_is_stored(settings: Settings, client: "redis.Redis") -> None:
    with waker(settings) as tested:
        tested.expect(LANE)
        assert wait_until(lambda: waiting(client) == 1, PATIENCE)


def test_after_the_commit_another_wake_up_comes_whatever_came_ahead(settings: Settings, client: "redis.Redis") -> None:
    with waker(settings) as tested:
        tested.expect(LANE)
        assert wait_until(lambda: waiting(client) == 1, PATIENCE)
        tested.wake({LANE: 1})
        assert wait_until(lambda: waiting(client) == 2, PATIENCE)


def test_a_commit_that_comes_late_is_told_without_a_rest(
    settings: Settings, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest would be an hour."""
    monkeypatch.setattr(module, "_AHEAD_SECONDS", 3600.0)
    monkeypatch.setattr(module, "_ON_THE_WAY_SECONDS", 0.0)
    with waker(settings) as tested:
        tested.expect(LANE)
        assert wait_until(lambda: waiting(client) == 1, PATIENCE)
        tested.wake({LANE: 1})
        assert wait_until(lambda: waiting(client) == 2, PATIENCE)


def test_where_it_is_not_quiet_nothing_is_sent_ahead(
    settings: Settings, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIET_SECONDS", 3600.0)
    with waker(settings) as tested:
        tested.wake({LANE: 1})
        assert wait_until(lambda: tested._sent_at > 0, PATIENCE)
        tested.expect(LANE)
    assert waiting(client) == 1


def test_what_can_wait_is_done_when_it_is_quiet_and_at_last_in_any_case(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[bool] = []
    with waker(settings, lambda: done.append(True)) as tested:
        tested.wake({LANE: 1})
        assert wait_until(lambda: len(done) == 1, PATIENCE)
        monkeypatch.setattr(module, "_QUIET_SECONDS", 3600.0)
        monkeypatch.setattr(module, "_OVERDUE_SECONDS", 0.0)

        def is_done_under_load() -> bool:
            tested.wake({LANE: 1})
            return len(done) > 1

        assert wait_until(is_done_under_load, PATIENCE)

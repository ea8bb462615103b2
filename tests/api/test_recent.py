"""Values that are shared: how old they may be, and who waits for a reading."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from steeple.api import recent
from steeple.api.recent import Laborious


class Clock:
    """Goes on by hand, and by ``pace`` seconds with each reading of ``value``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pace = 0.0
        self.readings = 0
        self.failure: Exception | None = None

    def __call__(self) -> float:
        return self.now

    async def read(self) -> int:
        await asyncio.sleep(0)
        self.now += self.pace
        self.readings += 1
        if self.failure is not None:
            raise self.failure
        return self.readings


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(recent, "monotonic", clock)
    return clock


def run(clock: Clock, story: Callable[[Laborious[int]], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story(Laborious(clock.read)))


async def settle() -> None:
    """Let a reading that is under way come to its end."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_is_quick_is_read_for_whoever_asks(clock: Clock) -> None:
    async def story(value: Laborious[int]) -> None:
        clock.now += 1
        assert await value.get() == 1
        clock.now += 0.001
        assert await value.get() == 2

    run(clock, story)


def test_what_takes_long_is_kept_for_ten_times_as_long(clock: Clock) -> None:
    async def story(value: Laborious[int]) -> None:
        clock.pace = 0.3
        assert await value.get() == 1
        clock.now += 2.6
        assert await value.get() == 1
        await settle()
        assert clock.readings == 1

    run(clock, story)


def test_nobody_waits_for_the_next_reading_who_comes_soon_after(clock: Clock) -> None:
    async def story(value: Laborious[int]) -> None:
        clock.pace = 0.3
        await value.get()
        clock.now += 12.5
        assert await value.get() == 1
        await settle()
        assert await value.get() == 2

    run(clock, story)


def test_who_comes_late_gets_a_new_reading(clock: Clock) -> None:
    async def story(value: Laborious[int]) -> None:
        clock.pace = 0.3
        await value.get()
        clock.now += 13.5
        assert await value.get() == 2

    run(clock, story)


def test_a_reading_that_fails_is_told_to_those_who_need_it(clock: Clock) -> None:
    async def story(value: Laborious[int]) -> None:
        clock.pace = 0.3
        await value.get()
        clock.failure = OSError("gone")
        clock.now += 5
        assert await value.get() == 1
        await settle()
        assert clock.readings == 2
        clock.now += 20
        with pytest.raises(OSError, match="gone"):
            await value.get()
        clock.failure = None
        assert await value.get() == 4

    run(clock, story)

"""The pauses between restarts, with a clock of the test's own."""

from dataclasses import dataclass

import pytest

from steeple.embedded.restarts import Watch


@dataclass
class Mortal:
    name: str = "mortal"
    status: int | None = None
    starts: int = 0

    def start(self) -> None:
        self.status = None
        self.starts += 1

    def exit_status(self) -> int | None:
        return self.status


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def _die(watch: Watch, subject: Mortal, clock: Clock, *, after: float = 0.0) -> float | None:
    watch.start()
    clock.now += after
    subject.status = 1
    return watch.note_death()


def test_the_pause_doubles_up_to_half_a_minute() -> None:
    subject, clock = Mortal(), Clock()
    watch = Watch(subject, clock)

    delays = [_die(watch, subject, clock) for _ in range(7)]

    assert delays == [1, 2, 4, 8, 16, 30, 30]


def test_a_minute_of_life_forgives_earlier_deaths() -> None:
    subject, clock = Mortal(), Clock()
    watch = Watch(subject, clock)
    _die(watch, subject, clock)
    _die(watch, subject, clock)

    assert _die(watch, subject, clock, after=61.0) == 1
    assert watch.deaths == 1


def test_a_death_is_noted_once_and_the_restart_is_due_after_the_pause() -> None:
    subject, clock = Mortal(), Clock()
    watch = Watch(subject, clock)
    assert _die(watch, subject, clock) == pytest.approx(1)

    assert watch.note_death() is None
    assert not watch.is_due
    clock.now += 1.0
    assert watch.is_due

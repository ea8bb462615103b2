"""One loop, many ticks: turns, pauses, faults, stopping."""

import logging
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import monotonic

import pytest
from sqlalchemy.exc import OperationalError

from steeple.scheduler import loop
from steeple.scheduler.loop import Loop, Tick
from steeple.scheduler.troubles import Troubles


class Stage:
    """Ticks that note their turns; the loop ends after so many of them."""

    def __init__(self, turns: int) -> None:
        self.stop = threading.Event()
        self.seen: list[str] = []
        self._turns = turns

    def tick(self, name: str, *pauses: float | Exception) -> Tick:
        """Gives its pauses in turn, the last one for ever; an exception among them is raised."""
        left = list(pauses)

        def run() -> float:
            self.seen.append(name)
            if len(self.seen) >= self._turns:
                self.stop.set()
            pause = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(pause, Exception):
                raise pause
            return pause

        return Tick(name, run)

    def play(self, *ticks: Tick) -> list[str]:
        Loop(ticks, self.stop, Troubles()).run()
        return self.seen


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    """The troubles that were logged."""
    caplog.set_level(logging.INFO)

    def read() -> list[tuple[str, str]]:
        found: Sequence[object] = [record.msg for record in caplog.records]
        return [(each["event"], each["with_what"]) for each in found if isinstance(each, dict)]

    return read


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any pause after a fault."""
    for name in ("_AWAY_SECONDS", "_FIRST_BACKOFF_SECONDS", "_LONGEST_BACKOFF_SECONDS"):
        monkeypatch.setattr(loop, name, 0.001)


def _away() -> OperationalError:
    return OperationalError("SELECT 1", {}, Exception("connection refused"))


def test_a_tick_that_always_has_more_to_do_leaves_the_others_their_turns() -> None:
    stage = Stage(9)
    assert stage.play(stage.tick("busy", 0.0), stage.tick("calm", 0.0), stage.tick("idle", 3600.0)) == [
        "busy", "calm", "idle", "busy", "calm", "busy", "calm", "busy", "calm"
    ]  # fmt: skip


def test_a_tick_has_its_next_turn_after_the_pause_that_it_asked_for() -> None:
    stage = Stage(5)
    assert stage.play(stage.tick("slow", 0.2, 3600.0), stage.tick("once", 0.05, 0.05, 3600.0)) == [
        "slow", "once", "once", "once", "slow"
    ]  # fmt: skip


@pytest.mark.usefixtures("quick")
def test_a_failing_tick_is_tried_again_while_the_others_go_on() -> None:
    stage = Stage(6)
    seen = stage.play(stage.tick("broken", ValueError("no")), stage.tick("sound", 0.001))
    assert seen.count("broken") > 1
    assert seen.count("sound") > 1


@pytest.mark.usefixtures("quick")
def test_a_fault_is_told_once_when_it_begins_and_once_when_it_is_over(
    events: Callable[[], list[tuple[str, str]]],
) -> None:
    stage = Stage(6)
    stage.play(stage.tick("weak", *[ValueError("no")] * 3, 0.0))
    assert events() == [("trouble_began", "weak"), ("trouble_over", "weak")]


@pytest.mark.usefixtures("quick")
def test_a_database_that_is_away_is_one_trouble_for_all_ticks(events: Callable[[], list[tuple[str, str]]]) -> None:
    stage = Stage(7)
    stage.play(stage.tick("one", _away(), _away(), 3600.0), stage.tick("two", _away(), _away(), 0.01))
    assert events() == [("trouble_began", "database"), ("trouble_over", "database")]


def test_pauses_after_faults_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    found = Loop([Tick("broken", lambda: 0.0)], threading.Event(), Troubles())
    pauses = [found._pause_after(0, ValueError("no")) for _ in range(100)]
    assert pauses[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(pauses[7:]) == {30.0}


class Clock(threading.Event):
    """A stop under which time passes by waiting only."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        self.waits += bool(timeout)
        return self.is_set()


def _turns(
    monkeypatch: pytest.MonkeyPatch, pauses: dict[str, float], until: float
) -> tuple[dict[str, list[float]], int]:
    """When each tick had its turns, by a clock of its own, and how often the loop had to wake up for all of them."""
    clock = Clock()
    monkeypatch.setattr(loop, "monotonic", lambda: clock.now)
    turns: dict[str, list[float]] = {name: [] for name in pauses}

    def tick(name: str) -> Tick:
        def run() -> float:
            turns[name].append(clock.now)
            if clock.now >= until:
                clock.set()
            return pauses[name]

        return Tick(name, run)

    Loop([tick(name) for name in pauses], clock, Troubles()).run()
    return turns, clock.waits


@pytest.mark.parametrize(("pause", "shortest"), [(0.25, 0.25), (10.0, 9.0)])
def test_long_pauses_are_shortened_a_little_by_chance_and_short_ones_kept(
    monkeypatch: pytest.MonkeyPatch, pause: float, shortest: float
) -> None:
    turns, _ = _turns(monkeypatch, {"tick": pause}, until=1000.0)
    pauses = {round(after - before, 6) for before, after in pairwise(turns["tick"])}
    assert shortest <= min(pauses) <= max(pauses) <= pause
    assert (len(pauses) > 1) == (shortest < pause)


def test_ticks_whose_time_is_near_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, wakes = _turns(monkeypatch, {"one": 2.0, "other": 2.0, "fast": 1.0}, until=1000.0)
    assert 480 <= len(turns["one"]) <= 560
    assert 980 <= len(turns["fast"]) <= 1120
    assert wakes < 1.2 * len(turns["fast"])


def test_a_stop_ends_the_longest_pause() -> None:
    stop = threading.Event()
    ticked = threading.Event()

    def run() -> float:
        ticked.set()
        return 3600.0

    thread = threading.Thread(target=Loop([Tick("idle", run)], stop, Troubles()).run)
    thread.start()
    assert ticked.wait(10)
    began = monotonic()
    stop.set()
    thread.join(30)
    assert monotonic() - began < 30

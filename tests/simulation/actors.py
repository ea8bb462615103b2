"""Actors: threads that move only when they are told, from one stop to the next, and one at a time.

An actor stops before and after every statement and COMMIT (``stops``) and wherever a model of something outside the
database makes it. Between two stops it may wait for a lock that another actor holds: that is seen in the server, and
somebody else is told to move.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from time import monotonic
from typing import Any

_GLANCE_SECONDS = 0.01
_PATIENCE_SECONDS = 30.0

_WAITS = "waits for a lock"

Blockers = Callable[[Collection[int]], Mapping[int, set[int]]]
"""For backends: those that each of them waits for."""

_local = threading.local()


class Killed(SystemExit):
    """Raised in an actor whose process is no more. A ``SystemExit``, so that asyncio lets it pass, too."""


class Stuck(AssertionError):
    """An actor neither moves nor waits for another."""


class Doing(Enum):
    NOTHING = auto()
    STOPPED = auto()
    MOVING = auto()
    """Or held up by somebody's lock."""


@dataclass(frozen=True)
class Line:
    """Of the schedule. ``at`` is the machine's time, ``seconds`` the simulated one since the beginning."""

    at: datetime
    seconds: float
    who: str | None
    what: str

    def __str__(self) -> str:
        return f"{self.seconds:7g} s  {self.who or '':16} {self.what}"


@dataclass(frozen=True)
class Sent:
    """A statement that is a transaction by itself, on its way to the server when its sender's connection was lost."""

    name: str
    statement: str
    parameters: Any


class Actor:
    """One at a time does one operation after the other, each in a thread. ``pid`` is its last backend."""

    def __init__(self, name: str, conductor: "Conductor") -> None:
        self.name = name
        self.pid: int | None = None
        self.doing = Doing.NOTHING
        self.at = ""
        self.is_killed = False
        self.is_cut = False
        """The connection is lost, and with it the reply to what the server has done."""
        self.is_late = False
        """The same will befall its next statement that is a transaction by itself, but the server does that later."""
        self.is_held_up = False
        """It was told to move, and waits for somebody's lock."""
        self.must_not_wait = False
        """What it has sent must be held up by nobody."""
        self.engine: Any = None
        """The engine that it used last."""
        self.opened_at: float | None = None
        """When its transaction began, by the simulated clock; None outside of one."""
        self._has_shown = True
        self._gate = threading.Semaphore(0)
        self._conductor = conductor

    @staticmethod
    def current() -> "Actor | None":
        """The actor of this thread; None in the thread that conducts."""
        return getattr(_local, "actor", None)

    def run(self, operation: Callable[[], object]) -> None:
        """The body of the actor's thread; once nobody stops any more, in the thread of whoever begins it."""
        _local.actor = self
        try:
            operation()
        except Killed:
            self._conductor.note(self, "is no more")
        except BaseException as error:  # noqa: BLE001 - the one who conducts looks at it
            self._conductor.failures.append((self, error))
            self._conductor.note(self, f"failed: {error!r}")
        finally:
            _local.actor = None
            self.is_late = self.must_not_wait = False
            self._conductor.arrived(self, Doing.NOTHING, "")

    def show(self) -> None:
        """Something was done that others can see: the next stop is one, even if it directly follows."""
        self._has_shown = True

    def stop(self, at: str, *, only_if_shown: bool = False) -> None:
        """Wait to be told to go on. Two stops with nothing between them that anyone could see are one."""
        self.raise_if_killed()
        if self._conductor.is_over or (only_if_shown and not self._has_shown):
            return
        self._has_shown = False
        self._conductor.arrived(self, Doing.STOPPED, at)
        self._gate.acquire()
        self.raise_if_killed()

    def raise_if_killed(self) -> None:
        if self.is_killed:
            raise Killed

    def begins_transaction(self) -> None:
        if self.opened_at is None:
            self.opened_at = self._conductor.clock()

    def leaves_behind(self, sent: Sent) -> None:
        self.is_late = False
        self._conductor.note(self, f"loses its connection, {sent.name} is on its way")
        self._conductor.under_way.append((sent, self._conductor.clock()))

    def go_on(self) -> None:
        self.doing = Doing.MOVING
        self._gate.release()


class Conductor:
    """Tells actors to move, one at a time, and waits until all stand still again."""

    def __init__(self, blockers: Blockers, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._began = clock()
        self.actors: list[Actor] = []
        self.failures: list[tuple[Actor, BaseException]] = []
        self.schedule: list[Line] = []
        """What happened, step by step."""
        self.stops: Counter[str] = Counter()
        """Where actors have stopped, and how often."""
        self.under_way: list[tuple[Sent, float]] = []
        """What the server has yet to do for those who lost sight of it, and since when."""
        self.is_over = False
        """From then on nobody stops any more."""
        self._blockers = blockers
        self._moved = threading.Condition()

    def actor(self, name: str) -> Actor:
        self.actors.append(Actor(name, self))
        return self.actors[-1]

    def note(self, actor: Actor | None, what: str) -> None:
        """Add a line to the schedule."""
        self.schedule.append(
            Line(datetime.now(UTC), self.clock() - self._began, None if actor is None else actor.name, what)
        )

    def begin(self, actor: Actor, what: str, operation: Callable[[], object]) -> None:
        """The actor, which does nothing, begins something, up to its first stop."""
        assert actor.doing is Doing.NOTHING, f"{actor.name} is busy"
        self.note(actor, f"begins: {what}")
        actor.doing = Doing.MOVING
        if self.is_over:
            actor.run(operation)
            return
        threading.Thread(target=actor.run, args=[operation], name=actor.name, daemon=True).start()
        self.settle()

    def step(self, actor: Actor) -> None:
        """Let a stopped actor go to its next stop, or to where it is held up."""
        actor.go_on()
        self.settle()

    def arrived(self, actor: Actor, doing: Doing, at: str) -> None:
        """Called by the actor's own thread."""
        with self._moved:
            actor.doing, actor.at, actor.is_held_up = doing, at, False
            if at:
                self.note(actor, at)
                self.stops[_kind(at)] += 1
            self._moved.notify_all()

    def stopped(self) -> list[Actor]:
        return [actor for actor in self.actors if actor.doing is Doing.STOPPED]

    def moving(self) -> list[Actor]:
        """Once all have settled: those that are held up."""
        return [actor for actor in self.actors if actor.doing is Doing.MOVING]

    def settle(self) -> None:
        """Wait until everybody has stopped, is done, or is held up by one that has stopped."""
        patience = monotonic() + _PATIENCE_SECONDS
        while True:
            with self._moved:
                if self._moved.wait_for(lambda: not self.moving(), _GLANCE_SECONDS):
                    return
            if self._are_held_up(self.moving()):
                self._tell_held_up()
                return
            if monotonic() > patience:
                raise Stuck(
                    f"{[actor.name for actor in self.moving()]} do not move\n" + "\n".join(map(str, self.schedule))
                )

    def _are_held_up(self, moving: Sequence[Actor]) -> bool:
        """True if each waits, directly or not, for somebody who stands still. Who waits in a circle is not: the server
        will see to it."""
        waits = self._blockers([actor.pid for actor in moving if actor.pid is not None])
        still = {actor.pid for actor in self.actors if actor.doing is not Doing.MOVING and actor.pid is not None}
        unsettled = {actor.pid for actor in moving}
        while settled := {pid for pid in unsettled if pid is not None and waits.get(pid) and waits[pid] <= still}:
            unsettled -= settled
            still |= settled
        return not unsettled

    def _tell_held_up(self) -> None:
        """Once for each that came to wait."""
        for actor in self.moving():
            if actor.pid is None or actor.is_held_up:
                continue
            actor.is_held_up = True
            waits = self._blockers([actor.pid]).get(actor.pid, set())
            what = f"{_WAITS} of {', '.join(other.name for other in self.actors if other.pid in waits)}"
            self.note(actor, what)
            self.stops[_WAITS] += 1
            if actor.must_not_wait:
                self.failures.append((actor, AssertionError(f"a mere claim {what}")))


def _kind(at: str) -> str:
    """What kind of stop it is: without what is different each time."""
    return "runs" if at.startswith("runs ") else at

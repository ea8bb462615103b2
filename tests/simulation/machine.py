"""Chance at work: hypothesis chooses who begins what, who moves, what breaks and when; and makes the least of failures.

Whatever it chose, at the end all heals, every job must end, and the checker goes over all that was recorded.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import TypeVar

from actors import Doing
from crew import SimulatedSlot, SimulatedWorker
from healing import heal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from people import DEAD_AFTER, SimulatedClient, SimulatedScheduler, Wish
from world import LANE, World
from worlds import Worlds

from playground import NOW
from steeple.domain.priority import Priority
from steeple.store.transitions import Edit

T = TypeVar("T")

_MOST_JOBS = 8
_MOST_DEATHS = 3
_MOST_SHOWN = 10

PICK = st.integers(0, 11)
"""One of however many there are."""

GO = st.sampled_from([0, 1, 2, 3, 99, 99])
"""How many steps somebody goes on at once after having begun: often few, so that others get in between."""

WISHES = st.builds(
    Wish,
    plan=st.sampled_from(["S", "FS", "S", "FF", "IS", "R", "CS", "C", "CFS"]),
    priority=st.sampled_from(Priority),
    delay=st.sampled_from([0.0, 0.0, 0.0, 3.0, 300.0]),
    expires_in=st.sampled_from([None, None, None, 2.0]),
    max_attempts=st.sampled_from([1, 2, 3, 4, 4]),
    key=st.sampled_from([None, None, 1, 2]),
    unique=st.sampled_from([None, None, 1]),
)

EDITS = st.builds(
    Edit,
    priority=st.none() | st.sampled_from(Priority),
    run_at=st.none() | st.integers(0, 20).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    max_attempts=st.none() | st.integers(1, 4),
)


class Promise(RuleBasedStateMachine):
    """Whoever runs it makes a subclass with ``worlds``."""

    worlds: Worlds

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.world: World = self._stack.enter_context(type(self).worlds())
        self._deaths = 0

    @initialize(wishes=st.lists(WISHES, min_size=1, max_size=4))
    def begin(self, wishes: list[Wish]) -> None:
        """With some jobs."""
        for wish in wishes:
            self.world.submit(self.world.clients[0], wish)
            self.world.run_all()

    # --- clients

    @precondition(lambda self: len(self.world.jobs) < _MOST_JOBS and self.idle_clients())
    @rule(wish=WISHES, go=GO)
    def submit(self, wish: Wish, go: int) -> None:
        client = self.idle_clients()[0]
        self.world.submit(client, wish)
        self.world.go(client.actor, go)

    @precondition(lambda self: self.world.jobs and self.idle_clients())
    @rule(pick=PICK, what=st.sampled_from(["cancel", "retry"]), go=GO)
    def change(self, pick: int, what: str, go: int) -> None:
        client, job_id = self.idle_clients()[0], _one(self.world.jobs, pick)
        operation = client.cancel if what == "cancel" else client.retry
        self.world.conductor.begin(client.actor, f"{what} job {job_id.int}", partial(operation, job_id))
        self.world.go(client.actor, go)

    @precondition(lambda self: self.world.jobs and self.idle_clients())
    @rule(pick=PICK, change=EDITS)
    def edit(self, pick: int, change: Edit) -> None:
        client, job_id = self.idle_clients()[0], _one(self.world.jobs, pick)
        self.world.conductor.begin(client.actor, f"edit job {job_id.int}", partial(client.edit, job_id, change))

    # --- wake-ups

    @precondition(lambda self: self.idle_slots())
    @rule(pick=PICK, slot=PICK, is_repeated=st.booleans(), go=st.integers(0, 6))
    def deliver(self, pick: int, slot: int, is_repeated: bool, go: int) -> None:
        """In any order, and some of them again, or late."""
        waiting = self.world.post.waiting
        lane = _one(waiting or [LANE], pick)
        if waiting and not is_repeated:
            waiting.remove(lane)
        woken = _one(self.idle_slots(), slot)
        self.world.deliver(woken, lane)
        self.world.go(woken.main, go)

    @precondition(lambda self: self.world.post.waiting)
    @rule()
    def drop(self) -> None:
        self.world.conductor.note(None, "all wake-ups are lost")
        self.world.post.waiting.clear()

    # --- schedulers, wardens, attendants

    @precondition(lambda self: self.idle_schedulers())
    @rule(tick=st.sampled_from(["wake_due", "rescue", "rescue", "bury", "expire", "roll_up", "prune"]), go=GO)
    def tick(self, tick: str, go: int) -> None:
        scheduler = self.idle_schedulers()[0]
        self.world.conductor.begin(scheduler.actor, tick, partial(scheduler.tick, tick))
        self.world.go(scheduler.actor, go)

    @precondition(lambda self: self.idle_wardens())
    @rule(pick=PICK, is_beat=st.booleans(), go=GO)
    def watch(self, pick: int, is_beat: bool, go: int) -> None:
        worker = _one(self.idle_wardens(), pick)
        if is_beat:
            self.world.oversee(worker, "beats", worker.beat)
        else:
            self.world.oversee(worker, "watches", worker.watch)
        self.world.go(worker.warden, go)

    @precondition(lambda self: self.unsettled_slots())
    @rule(pick=PICK, go=GO)
    def settle(self, pick: int, go: int) -> None:
        slot = _one(self.unsettled_slots(), pick)
        self.world.settle(slot)
        self.world.go(slot.worker.warden, go)

    @precondition(lambda self: self.attendable_slots())
    @rule(pick=PICK, after=st.sampled_from([0.0, 1.0]), go=GO)
    def attend(self, pick: int, after: float, go: int) -> None:
        slot = _one(self.attendable_slots(), pick)
        if after:
            self.world.advance(after)
        self.world.conductor.begin(slot.second, "attends", slot.attend)
        self.world.go(slot.second, go)

    # --- who moves

    @precondition(lambda self: self.world.conductor.stopped())
    @rule(pick=PICK, steps=st.integers(1, 5))
    def step(self, pick: int, steps: int) -> None:
        self.world.go(_one(self.world.conductor.stopped(), pick), steps)

    @precondition(lambda self: self.world.conductor.stopped())
    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        self.world.finish(_one(self.world.conductor.stopped(), pick))

    # --- what befalls them

    @rule(seconds=st.sampled_from([0.5, 1.5, 6.0, 21.0, 200.0]))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: len(self.idle_wardens()) > 1 and self.idle_schedulers())
    @rule(pick=PICK, rescue=st.sampled_from([2, 99, 99]), has_successor=st.booleans())
    def silence(self, pick: int, rescue: int, has_successor: bool) -> None:
        """A worker, rather a busy one, is not heard of for so long that it is taken for dead; it may live."""
        silent = _one([worker for worker in self.idle_wardens() if worker.is_busy] or self.idle_wardens(), pick)
        self.world.conductor.note(silent.warden, "is not heard of")
        self.world.advance(DEAD_AFTER + 1)
        for worker in self.idle_wardens():
            if worker is not silent:
                self.world.oversee(worker, "beats", worker.beat)
                self.world.finish(worker.warden)
        scheduler = self.idle_schedulers()[0]
        self.world.do(scheduler.actor, "bury", partial(scheduler.tick, "bury"))
        self.world.conductor.begin(scheduler.actor, "rescue", partial(scheduler.tick, "rescue"))
        self.world.go(scheduler.actor, rescue)
        for slot in [slot for slot in self.idle_slots() if slot.worker is not silent and has_successor][:1]:
            self.world.deliver(slot, LANE)
            self.world.go(slot.main, 3)

    @precondition(lambda self: self.world.conductor.stopped())
    @rule(pick=PICK)
    def cut(self, pick: int) -> None:
        """Before or after a statement or a COMMIT, wherever it has stopped."""
        self.world.cut(_one(self.world.conductor.stopped(), pick))

    @precondition(lambda self: self._deaths < _MOST_DEATHS and self.world.slots())
    @rule(pick=PICK, how=st.sampled_from(["slot", "slot", "worker", "stop"]))
    def kill(self, pick: int, how: str) -> None:
        self._deaths += 1
        slot = _one(self.world.slots(), pick)
        if how == "slot":
            self.world.kill_slot(slot)
            return
        if how == "worker":
            self.world.kill_worker(slot.worker)
        else:
            self.world.dismiss(slot.worker)
        self.world.hire(1)

    # --- the end

    def teardown(self) -> None:
        with self._stack:
            heal(self.world)
            found = self.world.verdict()
            shown = "\n".join(map(str, found[:_MOST_SHOWN]))
            schedule = "\n".join(self.world.conductor.schedule)
            assert not found, f"{len(found)} violations\n{shown}\n\n{schedule}"

    # --- who is free to begin something

    def idle_clients(self) -> list[SimulatedClient]:
        return [each for each in self.world.clients if each.actor.doing is Doing.NOTHING]

    def idle_schedulers(self) -> list[SimulatedScheduler]:
        return [each for each in self.world.schedulers if each.actor.doing is Doing.NOTHING]

    def idle_wardens(self) -> list[SimulatedWorker]:
        return [each for each in self.world.present() if each.warden.doing is Doing.NOTHING]

    def idle_slots(self) -> list[SimulatedSlot]:
        return [each for each in self.world.slots() if each.main.doing is Doing.NOTHING]

    def attendable_slots(self) -> list[SimulatedSlot]:
        """Those at work whose attendant is idle."""
        return [
            each
            for each in self.world.slots()
            if each.second.doing is Doing.NOTHING and each.main.doing is not Doing.NOTHING
        ]

    def unsettled_slots(self) -> list[SimulatedSlot]:
        return [each for each in self.world.dead_slots() if each.worker.warden.doing is Doing.NOTHING]


def _one(among: Sequence[T], pick: int) -> T:
    return among[pick % len(among)]

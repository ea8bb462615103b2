"""Chance at work: hypothesis chooses who begins what, who moves, what breaks and when; and makes the least of failures.

Whatever it chose, at the end all heals, every job must end, and the checker goes over all that was recorded.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import ClassVar, TypeVar

from draws import EDITS, GO, PICK, WISHES
from free import Free
from healing import heal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from moves import move, possible
from people import DEAD_AFTER, RETENTION, Wish
from seen import Seen
from verdict import history_of, told, verdict
from world import LANE, World
from worlds import Worlds

from steeple.embedded.postgres import EmbeddedPostgres
from steeple.store.transitions import Edit

T = TypeVar("T")

_MOST_JOBS = 10
_MOST_DEATHS = 3
_MOST_CRASHES = 2
_MOVES_BETWEEN = 4
"""From one advance of the clock to the next."""


class Broken(AssertionError):
    """A game did not hold what is promised; told with all that happened in it."""


class Promise(RuleBasedStateMachine):
    """Whoever runs it makes a subclass with ``worlds`` and ``seen``."""

    worlds: Worlds
    seen: ClassVar[Seen]
    server: ClassVar[EmbeddedPostgres | None] = None
    """One that may be killed."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.world: World = self._stack.enter_context(type(self).worlds())
        self.free = Free(self.world)
        self._deaths = self._crashes = 0
        self._advanced_at = self.seen.moves.total()

    @initialize(wishes=st.lists(WISHES, min_size=1, max_size=4))
    def begin(self, wishes: list[Wish]) -> None:
        """With some jobs."""
        for wish in wishes:
            self.world.submit(self.world.clients[0], wish)
            self.world.run_all()

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """One of those that are possible now."""
        chosen = data.draw(st.sampled_from(possible(self)))
        self.seen.moves[chosen.name] += 1
        chosen.make(self, **{name: data.draw(values) for name, values in chosen.drawn.items()})

    # --- clients

    @move(2, lambda self: len(self.world.jobs) < _MOST_JOBS and self.free.clients(), wish=WISHES, go=GO)
    def submit(self, wish: Wish, go: int) -> None:
        client = self.free.clients()[0]
        self.world.submit(client, wish)
        self.world.go(client.actor, go)

    @move(
        3,
        lambda self: len(self.world.jobs) < _MOST_JOBS and self.free.apis(),
        wishes=st.lists(WISHES, min_size=1, max_size=3),
        go=GO,
    )
    def submit_together(self, wishes: list[Wish], go: int) -> None:
        api = self.free.apis()[0]
        self.world.submit_together(api, wishes)
        self.world.go(api.actor, go)

    @move(3, lambda self: self.world.jobs and self.free.clients(), pick=PICK, go=GO)
    def cancel(self, pick: int, go: int) -> None:
        client, job_id = self.free.clients()[0], _one(self.world.in_state("RUNNING") or self.world.jobs, pick)
        self.world.conductor.begin(client.actor, f"cancel job {job_id.int}", partial(client.cancel, job_id))
        self.world.go(client.actor, go)

    @move(
        3,
        lambda self: self.world.jobs and self.free.apis(),
        pick=PICK,
        is_retry=st.sampled_from([True, True, False]),
        go=GO,
    )
    def change(self, pick: int, is_retry: bool, go: int) -> None:
        """By way of an API."""
        api = self.free.apis()[0]
        ended = self.world.in_state("SUCCESS", "FAILED", "CANCELLED") if is_retry else []
        job_id = _one(ended or self.world.jobs, pick)
        what, operation = ("retry", api.retry) if is_retry else ("cancel", api.cancel)
        self.world.conductor.begin(api.actor, f"{what} job {job_id.int}", partial(operation, job_id))
        self.world.go(api.actor, go)

    @move(1, lambda self: self.world.jobs and self.free.clients(), pick=PICK, change=EDITS)
    def edit(self, pick: int, change: Edit) -> None:
        client, job_id = self.free.clients()[0], _one(self.world.jobs, pick)
        self.world.conductor.begin(client.actor, f"edit job {job_id.int}", partial(client.edit, job_id, change))

    # --- wake-ups

    @move(
        4,
        lambda self: self.free.slots(),
        pick=PICK,
        slot=PICK,
        is_repeated=st.booleans(),
        go=st.sampled_from([0, 1, 2, 3, 4, 6, 99]),
    )
    def deliver(self, pick: int, slot: int, is_repeated: bool, go: int) -> None:
        """In any order, and some of them again, or late."""
        waiting = self.world.post.waiting
        lane = _one(waiting or [LANE], pick)
        if waiting and not is_repeated:
            waiting.remove(lane)
        woken = _one(self.free.slots(), slot)
        self.world.deliver(woken, lane)
        self.world.go(woken.main, go)

    @move(3, lambda self: self.free.slots(), slot=PICK)
    def work(self, slot: int) -> None:
        """Undisturbed, to the end."""
        woken = _one(self.free.slots(), slot)
        self.world.deliver(woken, LANE)
        self.world.finish(woken.main)

    @move(8, lambda self: self.free.slots(), slot=PICK)
    def start(self, slot: int) -> None:
        """Up to where a task runs, if there is any to run."""
        woken = _one(self.free.slots(), slot)
        self.world.deliver(woken, LANE)
        self.world.go_until(woken.main, "runs")

    @move(1, lambda self: self.world.post.waiting)
    def drop(self) -> None:
        self.world.conductor.note(None, "all wake-ups are lost")
        self.world.post.waiting.clear()

    # --- schedulers, clerks, attendants

    @move(
        3,
        lambda self: self.free.schedulers(),
        tick=st.sampled_from(["wake_due", "rescue", "rescue", "bury", "expire", "confirm", "roll_up", "prune"]),
        go=GO,
    )
    def tick(self, tick: str, go: int) -> None:
        scheduler = self.free.schedulers()[0]
        self.world.conductor.begin(scheduler.actor, tick, partial(scheduler.tick, tick))
        self.world.go(scheduler.actor, go)

    @move(3, lambda self: self.free.clerks(), pick=PICK, what=st.sampled_from(["beats", "watches", "audits"]), go=GO)
    def watch(self, pick: int, what: str, go: int) -> None:
        worker = _one(self.free.clerks(), pick)
        steps = {"beats": worker.beat, "watches": worker.watch, "audits": worker.audit}
        self.world.oversee(worker, what, steps[what])
        self.world.go(worker.clerk, go)

    @move(4, lambda self: self.free.unsettled(), pick=PICK, go=GO)
    def settle(self, pick: int, go: int) -> None:
        slot = _one(self.free.unsettled(), pick)
        self.world.settle(slot)
        self.world.go(slot.worker.clerk, go)

    @move(3, lambda self: self.free.attendable(), pick=PICK, after=st.sampled_from([0.0, 1.5]), go=GO)
    def attend(self, pick: int, after: float, go: int) -> None:
        slot = _one(self.free.attendable(), pick)
        if after:
            self.world.advance(after)
        self.world.conductor.begin(slot.second, "attends", slot.attend)
        self.world.go(slot.second, go)

    # --- who moves

    @move(4, lambda self: self.world.conductor.stopped(), pick=PICK, steps=st.integers(1, 5))
    def step(self, pick: int, steps: int) -> None:
        self.world.go(_one(self.world.conductor.stopped(), pick), steps)

    @move(2, lambda self: self.world.conductor.stopped(), pick=PICK)
    def finish(self, pick: int) -> None:
        self.world.finish(_one(self.world.conductor.stopped(), pick))

    # --- what befalls them

    @move(
        2,
        lambda self: self.seen.moves.total() >= self._advanced_at + _MOVES_BETWEEN,
        seconds=st.sampled_from([0.5, 1.5, 3.0, 6.0, 21.0, 200.0]),
    )
    def advance(self, seconds: float) -> None:
        """Now and then."""
        self._advanced_at = self.seen.moves.total()
        self.world.advance(seconds)

    @move(
        6,
        lambda self: any(each.is_busy for each in self.free.clerks()),
        pick=PICK,
        is_slow=st.booleans(),
        successor=st.integers(0, 4),
        is_back=st.booleans(),
    )
    def silence(self, pick: int, is_slow: bool, successor: int, is_back: bool) -> None:
        """A busy worker is not heard of for so long that it is taken for dead; it may live, and go on
        when another has taken over. Of two schedulers that see it, one may be slow."""
        silent = _one([worker for worker in self.free.clerks() if worker.is_busy], pick)
        self.world.conductor.note(silent.clerk, "is not heard of")
        self.world.advance(DEAD_AFTER + 1)
        for worker in self.free.clerks():
            if worker is not silent:
                self.world.oversee(worker, "beats", worker.beat)
                self.world.finish(worker.clerk)
        first = self.world.schedulers[0]
        for scheduler in self.world.schedulers:
            self.world.finish(scheduler.actor)
        self.world.do(first.actor, "bury", partial(first.tick, "bury"))
        for scheduler in self.world.schedulers:
            self.world.conductor.begin(scheduler.actor, "rescue", partial(scheduler.tick, "rescue"))
            self.world.go_until(
                scheduler.actor, "after workers._ORPHANS" if is_slow and scheduler is first else "its end"
            )
        others = [slot for slot in self.free.slots() if slot.worker is not silent]
        slot = (others or self.world.hire(1).slots)[0]
        self.world.deliver(slot, LANE)
        self.world.go(slot.main, successor)
        for slot in silent.slots if is_back else []:
            self.world.go(slot.main, 99)
        self.world.go(first.actor, 99)

    @move(1, lambda self: self.free.schedulers() and not self.world.conductor.stopped(), go=GO)
    def grow_old(self, go: int) -> None:
        """What has ended is kept long enough."""
        self.world.advance(RETENTION + 1)
        for worker in self.free.clerks():
            self.world.oversee(worker, "beats", worker.beat)
            self.world.finish(worker.clerk)
        scheduler = self.free.schedulers()[0]
        self.world.do(scheduler.actor, "roll_up", partial(scheduler.tick, "roll_up"))
        self.world.conductor.begin(scheduler.actor, "prune", partial(scheduler.tick, "prune"))
        self.world.go(scheduler.actor, go)

    @move(2, lambda self: self.world.conductor.stopped(), pick=PICK)
    def cut(self, pick: int) -> None:
        """Before or after a statement or a COMMIT, wherever it has stopped."""
        self.world.cut(_one(self.world.conductor.stopped(), pick))

    @move(2, lambda self: self.free.at_work(), pick=PICK, go=GO)
    def lose_sight(self, pick: int, go: int) -> None:
        """The connection breaks under a statement that the server does nevertheless, later."""
        actor = _one(self.free.at_work(), pick)
        self.world.lose_sight(actor)
        self.world.go(actor, go)

    @move(3, lambda self: self.world.past.can_land, go=GO)
    def land(self, go: int) -> None:
        self.world.past.land()
        self.world.go(self.world.past.actor, go)

    @move(1, lambda self: self._crashes < _MOST_CRASHES and not self.world.conductor.moving())
    def crash(self) -> None:
        self._crashes += 1
        self.world.crash_server()

    @move(1, lambda self: self.server and not self._crashes and not self.world.conductor.moving())
    def restart(self) -> None:
        self._crashes += 1
        assert self.server is not None
        self.world.restart_server(self.server)

    @move(
        2,
        lambda self: self._deaths < _MOST_DEATHS and self.world.slots(),
        pick=PICK,
        how=st.sampled_from(["slot", "slot", "worker", "stop", "api"]),
    )
    def kill(self, pick: int, how: str) -> None:
        self._deaths += 1
        slot = _one(self.world.slots(), pick)
        if how == "slot":
            self.world.kill_slot(slot)
            return
        if how == "api":
            self.world.kill_api(_one(self.world.apis, pick))
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
            history = history_of(self.world)
            self.seen.note(self.world.conductor.stops, history.transitions)
            found = verdict(self.world, history)
            if found:
                self.seen.note_broken(told(self.world, history, found))
                raise Broken(self.seen.broken)


def _one(among: Sequence[T], pick: int) -> T:
    return among[pick % len(among)]

"""One simulated installation, from an empty database on: who is there, what they begin, what can befall them.

Whatever chooses what happens next, chance (``machine``) or a plan (the scenarios of the mutations), does it through the
methods here. How it ends is in ``healing``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import sleep
from typing import Any
from uuid import UUID

import psycopg
from actors import Actor, Conductor, Doing, Stuck
from checker import check
from crew import SimulatedSlot, SimulatedWorker, Surroundings
from people import SimulatedClient, SimulatedScheduler, Wish
from post import Post
from recorder import Journal, Recorder
from shed import Shed
from simulated_time import Clock
from violation import Violation

from steeple import Retry, Steeple
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.waking import Crew, Wakes, plan_wakes
from steeple.store.engine import Engine
from steeple.store.tables import Table
from steeple.store.workers import NewWorker
from steeple.worker.board import Stop

LANE = Lane(None, Priority.DEFAULT)
"""Where the simulated workers wait, who serve every queue; one of three."""

_OPEN_AT_MOST_SECONDS = 30.0
"""As long as the engines' ``idle_in_transaction_session_timeout``."""

_MOST_STEPS = 2000
_GLANCE_SECONDS = 0.001

_BLOCKERS = "SELECT pid, pg_blocking_pids(pid) FROM unnest(CAST(%s AS integer[])) AS pid"
_END_BACKEND = "SELECT pg_terminate_backend(%s)"
_IS_GONE = "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %s)"
_IS_STORED = "SELECT EXISTS (SELECT FROM recorded_jobs WHERE job_id = %s)"


def _planned(plan: str) -> None:
    """The task of every job in the simulation; the slots' performer reads the plan."""


class World:
    """``control`` is a connection beside the actors'."""

    def __init__(self, shed: Shed, control: "psycopg.Connection[Any]", recorder: Recorder) -> None:
        self._control = control
        self._recorder = recorder
        self._empty()
        self.clock = Clock(control)
        self.journal = Journal()
        self.conductor = Conductor(self._blockers, self.clock.read)
        self.post = Post(lambda what: self.conductor.note(Actor.current(), what))
        app = Steeple(shed.settings)
        app.task("planned", retry=Retry(initial=1.0, cap=4.0))(_planned)
        self.shared = Surroundings(shed.settings, app, shed, self.conductor, self.clock, self._publish)
        self.clients = [SimulatedClient(f"client {n}", self.shared, self.journal, self._wake) for n in (1, 2)]
        self.schedulers = [SimulatedScheduler(f"scheduler {n}", self.shared, self.post) for n in (1, 2)]
        self.workers: list[SimulatedWorker] = []
        self.jobs: list[UUID] = []
        self._woken_early: list[UUID] = []
        self._worn: list[Engine] = []
        self.hire(2)
        self.hire(1)

    # --- who there is

    def hire(self, slots: int) -> SimulatedWorker:
        number = len(self.workers) + 1
        row = NewWorker(UUID(int=number << 20), f"worker {number}", "0", slots, Binding(), ("planned",))
        self.workers.append(SimulatedWorker(self.shared, row))
        return self.workers[-1]

    def present(self) -> list[SimulatedWorker]:
        return [worker for worker in self.workers if worker.is_alive]

    def slots(self) -> list[SimulatedSlot]:
        """Those that live."""
        return [slot for worker in self.present() for slot in worker.slots if slot.is_alive]

    def dead_slots(self) -> list[SimulatedSlot]:
        """Those whose warden lives and has yet to see to them."""
        return [slot for worker in self.present() for slot in worker.slots if not slot.is_alive]

    # --- what they begin

    def submit(self, client: SimulatedClient, wish: Wish) -> None:
        job = wish.job(len(self.jobs) + 1, self.clock.seconds)
        self.jobs.append(job.id)
        self.conductor.begin(client.actor, f"submit job {job.id.int}: {wish}", lambda: client.submit(wish, job))

    def deliver(self, slot: SimulatedSlot, lane: Lane) -> None:
        """A wake-up reaches an idle slot."""
        self.conductor.begin(slot.main, f"is woken for {lane.priority}", slot.work)

    def settle(self, slot: SimulatedSlot) -> None:
        worker = slot.worker
        self.oversee(worker, f"settles {slot.main.name}", lambda: worker.settle(slot))

    def oversee(self, worker: SimulatedWorker, what: str, step: Callable[[], object]) -> None:
        """A worker's warden does something."""
        self.conductor.begin(worker.warden, what, lambda: worker.attempt(step))

    def do(self, actor: Actor, what: str, operation: Callable[[], object]) -> None:
        """Something from beginning to end."""
        self.conductor.begin(actor, what, operation)
        self.finish(actor)

    # --- who moves

    def go(self, actor: Actor, steps: int) -> None:
        """So many steps, or as many as it has."""
        for _ in range(steps):
            if actor.doing is Doing.STOPPED:
                self.conductor.step(actor)
        self.see_to_the_dead()

    def finish(self, actor: Actor) -> None:
        """Let one come to the end of what it does; others move only where they hold it up."""
        for _ in range(_MOST_STEPS):
            if actor.doing is Doing.NOTHING:
                self.see_to_the_dead()
                return
            self.conductor.step(actor if actor.doing is Doing.STOPPED else self.conductor.stopped()[0])
        raise Stuck(f"{actor.name} comes to no end")

    def run_all(self) -> None:
        """Let everybody come to the end of what they do."""
        for _ in range(_MOST_STEPS):
            stopped = self.conductor.stopped()
            if not stopped:
                return
            for actor in stopped:
                self.go(actor, 1)
        raise Stuck(f"{[actor.name for actor in self.conductor.stopped()]} come to no end")

    # --- what befalls them

    def advance(self, seconds: float) -> None:
        """Time goes on; what has been idle in a transaction for too long is ended by the server."""
        self.clock.advance(seconds)
        self.conductor.note(None, f"{seconds:g} s pass: it is {self.clock.seconds:g} s")
        for actor in self.conductor.stopped():
            if actor.opened_at is not None and self.clock.read() - actor.opened_at > _OPEN_AT_MOST_SECONDS:
                self.cut(actor)

    def cut(self, actor: Actor) -> None:
        """The connection is lost: what it was about to send fails, or the reply that it waits for never comes."""
        self.conductor.note(actor, "loses its connection")
        actor.is_cut = actor.at.startswith("after ")
        self._end_backend(actor)

    def kill_slot(self, slot: SimulatedSlot) -> None:
        """Celery starts another process in its place."""
        self.conductor.note(slot.main, "is killed")
        for actor in (slot.main, slot.second):
            self._kill(actor)
        slot.worker.fill_place(slot.index)

    def kill_worker(self, worker: SimulatedWorker) -> None:
        """All of it, at once; nobody is left to see to its slots."""
        self.conductor.note(worker.warden, "is killed, and all its slots")
        worker.is_alive = False
        for actor in (worker.warden, *(actor for slot in worker.slots for actor in (slot.main, slot.second))):
            self._kill(actor)

    def dismiss(self, worker: SimulatedWorker) -> None:
        """It claims nothing any more, and the grace of what it runs is over."""
        self.conductor.note(worker.warden, "is told to stop")
        worker.board.drain()
        worker.ask_all_to_stop(Stop.SHUTDOWN)

    def see_to_the_dead(self) -> None:
        """Those whose task killed them are dead in whole."""
        for slot in self.dead_slots():
            if not slot.second.is_killed:
                self.kill_slot(slot)

    # --- what came of it

    def verdict(self) -> list[Violation]:
        """How the promise was broken."""
        history = self._recorder.history(self.journal)
        history = replace(history, effects=tuple(self.shared.effects), is_timed=False, dropped=None)
        failed = [Violation(None, f"{who.name}: {error!r}", rule="failure") for who, error in self.conductor.failures]
        early = [
            Violation(job_id, "was woken for before it was committed", history.by_job[job_id][:1], "wake-ups")
            for job_id in self._woken_early
            if job_id in history.by_job
        ]
        return failed + early + check(history)

    def ask(self, query: str) -> Any:
        """The one value of a query, in the eyes of somebody beside them all."""
        row = self._control.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def close(self) -> None:
        """Nobody is left."""
        for actor in self.conductor.actors:
            self._kill(actor)
        for engine in self._worn:
            engine.dispose()
        self.shared.app.close()
        self.shared.shed.take_back()

    # --- within

    def _publish(self, wakes: Mapping[Lane, Wakes]) -> int:
        sent = self.post.publish(wakes)
        actor = Actor.current()
        if actor is not None and sent:
            actor.show()
        return sent

    def _wake(self, due: Mapping[Lane, int], job_id: UUID) -> None:
        """The waker of an app or an api is told of a job that became due. One that never comes to be was a repeat."""
        if not self._control.execute(_IS_STORED, [job_id]).fetchall()[0][0]:
            self._woken_early.append(job_id)
        fleet = [Crew(worker.row.binding, worker.row.slots) for worker in self.present()]
        self._publish(plan_wakes(due, fleet))

    def _kill(self, actor: Actor) -> None:
        if actor.is_killed and actor.doing is Doing.NOTHING:
            return
        actor.is_killed = True
        self._end_backend(actor)
        if actor.doing is Doing.STOPPED:
            self.conductor.step(actor)
        self.conductor.settle()

    def _end_backend(self, actor: Actor) -> None:
        """And wait until it is gone."""
        if actor.pid is None or actor.doing is Doing.NOTHING:
            return
        self._control.execute(_END_BACKEND, [actor.pid])
        while not self._control.execute(_IS_GONE, [actor.pid]).fetchall()[0][0]:
            sleep(_GLANCE_SECONDS)
        self._worn.append(actor.engine)

    def _blockers(self, pids: Any) -> dict[int, set[int]]:
        return {pid: set(found) for pid, found in self._control.execute(_BLOCKERS, [list(pids)])}

    def _empty(self) -> None:
        """Row by row, which is quicker where there are few."""
        tables = [table.name for table in reversed(Table.metadata.sorted_tables) if table.name != "watermarks"]
        for name in (*tables, "recorded_jobs", "recorded_workers"):
            self._control.execute(f"DELETE FROM {name}".encode())
        self._control.execute("UPDATE watermarks SET at = 'epoch'")

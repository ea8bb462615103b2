"""One simulated installation, from an empty database on: who is there, what they begin, what can befall them.

Whatever chooses what happens next, chance (``machine``) or a plan (the scenarios of the mutations), does it through the
methods here. How it ends is in ``healing``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import durability
from actors import Actor, Conductor, Doing, Stuck
from backends import Backends
from control import Control
from crew import SimulatedSlot, SimulatedWorker, Surroundings
from intake import SimulatedApi
from past import Past
from people import SimulatedClient, SimulatedScheduler, Wish
from post import Post
from recorder import Journal, Recorder
from shed import Shed
from simulated_time import Clock

from steeple import Retry, Steeple
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.waking import Crew, Wakes, plan_wakes
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.store.engine import Engine
from steeple.store.workers import NewWorker

LANE = Lane(None, Priority.DEFAULT)
"""Where the simulated workers wait, who serve every queue; one of three."""

_OPEN_AT_MOST_SECONDS = 30.0
"""As long as the engines' ``idle_in_transaction_session_timeout``."""

_SURELY_ON_DISK_SECONDS = 1.0
"""Thrice the server's ``wal_writer_delay``, and more."""

_FEW_STEPS = 20
_MOST_STEPS = 2000

_IS_STORED = "SELECT EXISTS (SELECT FROM recorded_jobs WHERE job_id = ANY (%s))"
_IN_STATE = "SELECT id FROM jobs WHERE CAST(state AS text) = ANY (%s) ORDER BY id"
_RETRIES = """
SELECT count(*) FROM recorded_jobs
WHERE job_id = %s AND before ->> 'state' IN ('SUCCESS', 'FAILED', 'CANCELLED') AND after ->> 'state' = 'PENDING'
"""


def _planned(plan: str) -> None:
    """The task of every job in the simulation; the slots' performer reads the plan."""


class World:
    """``control`` is a connection beside the actors'."""

    def __init__(self, shed: Shed, control: Control, recorder: Recorder) -> None:
        self._control = control
        self.recorder = recorder
        self._backends = Backends(control)
        control.empty()
        self.clock = Clock(control)
        self.journal = Journal()
        self.conductor = Conductor(self._backends.blockers, self.clock.read)
        self.post = Post(lambda what: self.conductor.note(Actor.current(), what))
        app = Steeple(shed.settings)
        app.task("planned", retry=Retry(initial=1.0, cap=4.0))(_planned)
        self.shared = Surroundings(
            shed.settings, app, shed, self.conductor, self.clock, self._publish, self._count_retries
        )
        self.clients = [SimulatedClient(f"client {n}", self.shared, self.journal, self._wake) for n in (1, 2)]
        self.apis = [SimulatedApi(f"api {n}", self.shared, self.journal, self._wake) for n in (1, 2)]
        self.schedulers = [SimulatedScheduler(f"scheduler {n}", self.shared, self.post) for n in (1, 2)]
        self.workers: list[SimulatedWorker] = []
        self.jobs: list[UUID] = []
        self.woken_early: list[tuple[UUID, ...]] = []
        self.past = Past(self.conductor, shed.take())
        self._worn: list[Engine] = []
        self._are_all_worn = False
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
        """Those whose clerk lives and has yet to see to them."""
        return [slot for worker in self.present() for slot in worker.slots if not slot.is_alive]

    # --- what they begin

    def submit(self, client: SimulatedClient, wish: Wish) -> None:
        job = wish.job(len(self.jobs) + 1, self.clock.seconds)
        self.jobs.append(job.id)
        self.conductor.begin(client.actor, f"submit job {job.id.int}: {wish}", lambda: client.submit(wish, job))

    def submit_together(self, api: SimulatedApi, wishes: Sequence[Wish]) -> None:
        """Requests that come to an API at the same time."""
        wanted = []
        for wish in wishes:
            wanted.append((wish, wish.job(len(self.jobs) + 1, self.clock.seconds)))
            self.jobs.append(wanted[-1][1].id)
        what = "; ".join(f"job {job.id.int}: {wish}" for wish, job in wanted)
        self.conductor.begin(api.actor, f"submit together {what}", lambda: api.submit(wanted))

    def deliver(self, slot: SimulatedSlot, lane: Lane) -> None:
        """A wake-up reaches an idle slot."""
        self.conductor.begin(slot.main, f"is woken for {lane.priority}", slot.work)

    def settle(self, slot: SimulatedSlot) -> None:
        worker = slot.worker
        self.oversee(worker, f"settles {slot.main.name}", lambda: worker.settle(slot))

    def oversee(self, worker: SimulatedWorker, what: str, step: Callable[[], object]) -> None:
        """A worker's clerk does something."""
        self.conductor.begin(worker.clerk, what, lambda: worker.attempt(step))

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

    def go_until(self, actor: Actor, at: str) -> None:
        """Or as far as it comes, which is not far."""
        for _ in range(_FEW_STEPS):
            if not actor.at.startswith(at):
                self.go(actor, 1)

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
        if seconds >= _SURELY_ON_DISK_SECONDS:
            durability.forget(self._control)
        self.conductor.note(None, f"{seconds:g} s pass: it is {self.clock.seconds:g} s")
        for actor in self.conductor.stopped():
            if actor.opened_at is not None and self.clock.read() - actor.opened_at > _OPEN_AT_MOST_SECONDS:
                self.cut(actor)

    def cut(self, actor: Actor) -> None:
        """The connection is lost: what it was about to send fails, or the reply that it waits for never comes."""
        self.conductor.note(actor, "loses its connection")
        actor.is_cut = actor.at.startswith("after ")
        self._end_backend(actor)
        self.conductor.settle()

    def lose_sight(self, actor: Actor) -> None:
        """The connection is going to be lost under its next statement, which the server does nevertheless, later."""
        self.conductor.note(actor, "will lose its connection when it has sent its next statement")
        actor.is_late = True

    def crash_server(self) -> None:
        """PostgreSQL is killed and starts again: every transaction and connection is lost, and of what was committed
        whatever did not wait for the disk. Nobody may be held up by another."""
        self.conductor.note(None, "PostgreSQL is killed and starts again")
        self._forsake_all()
        if lost := self._backends.crash():
            self.conductor.note(None, f"{lost} changes that did not wait for the disk are lost")

    def restart_server(self, server: EmbeddedPostgres) -> None:
        """The same for real."""
        self.conductor.note(None, "PostgreSQL is killed and starts again, really")
        self._forsake_all()
        self._backends.restart(server)

    def kill_slot(self, slot: SimulatedSlot) -> None:
        """Celery starts another process in its place."""
        self.conductor.note(slot.main, "is killed")
        for actor in (slot.main, slot.second):
            self._kill(actor)
        slot.worker.fill_place(slot.index)

    def kill_api(self, api: SimulatedApi) -> None:
        """Another one is started in its place."""
        self.conductor.note(api.actor, "is killed")
        self._kill(api.actor)
        api.close()
        self._are_all_worn = True
        number = self.apis.index(api)
        self.apis[number] = SimulatedApi(api.actor.name, self.shared, self.journal, self._wake)

    def kill_worker(self, worker: SimulatedWorker) -> None:
        """All of it, at once; nobody is left to see to its slots."""
        self.conductor.note(worker.clerk, "is killed, and all its slots")
        worker.is_alive = False
        for actor in (worker.clerk, *(actor for slot in worker.slots for actor in (slot.main, slot.second))):
            self._kill(actor)

    def dismiss(self, worker: SimulatedWorker) -> None:
        """It claims nothing any more, and the grace of what it runs is over."""
        self.conductor.note(worker.clerk, "is told to stop")
        worker.board.drain()
        worker.end_grace()

    def see_to_the_dead(self) -> None:
        """Those whose task killed them are dead in whole."""
        for slot in self.dead_slots():
            if not slot.second.is_killed:
                self.kill_slot(slot)

    # --- what came of it

    def in_state(self, *states: str) -> list[UUID]:
        """The jobs that are there in one of these states, as is known to all."""
        return [job_id for (job_id,) in self._control.execute(_IN_STATE, [list(states)])]

    def ask(self, query: str, values: Sequence[object] = ()) -> Any:
        """The one value of a query, in the eyes of somebody beside them all."""
        row = self._control.execute(query, values).fetchone()
        assert row is not None
        return row[0]

    def close(self) -> None:
        """Nobody is left."""
        for actor in self.conductor.actors:
            self._kill(actor)
        for api in self.apis:
            api.close()
        for scheduler in self.schedulers:
            scheduler.close()
        for engine in self._worn:
            engine.dispose()
        if self._are_all_worn:
            self.shared.shed.renew()
        self.shared.app.close()
        self.shared.shed.take_back()

    # --- within

    def _publish(self, wakes: Mapping[Lane, Wakes]) -> int:
        sent = self.post.publish(wakes)
        actor = Actor.current()
        if actor is not None and sent:
            actor.show()
        return sent

    def _wake(self, due: Mapping[Lane, int], about: tuple[UUID, ...]) -> None:
        """The waker of an app or an api is told of jobs that became due. One that never comes to be was a repeat."""
        if not self.ask(_IS_STORED, [list(about)]):
            self.woken_early.append(about)
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
        self._backends.end(actor.pid)
        if actor.engine is None:
            self._are_all_worn = True
        else:
            self._worn.append(actor.engine)

    def _forsake_all(self) -> None:
        """Whoever waits for a reply will never get it."""
        self.journal.server_crashed()
        self._are_all_worn = True
        for actor in self.conductor.stopped():
            actor.is_cut = actor.at.startswith("after ")

    def _count_retries(self, job_id: UUID) -> int:
        return int(self.ask(_RETRIES, [job_id]))

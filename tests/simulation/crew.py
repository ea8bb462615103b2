"""Workers: the product's own drain loop, ledger and attendant in their slots; what Celery and the kernel do is a model.

A task does what its job's plan says, a letter for each attempt: it succeeds (S), fails (F), asks for another try (I),
rejects the job (R) or kills its process (C). The last letter holds for all further attempts.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from actors import Actor, Conductor, Killed
from history import Effect, Rest, Round
from shed import Shed
from simulated_time import Clock

from playground import NOW
from steeple import Settings, Steeple
from steeple.domain.job import ClaimedJob, JobError, Reason
from steeple.domain.outcome import Failed, Outcome, Returned, Stopped
from steeple.domain.priority import Lane
from steeple.domain.retry import Retry
from steeple.domain.waking import Wakes
from steeple.store import workers
from steeple.store.engine import DatabaseError, in_transaction, is_repeatable
from steeple.store.exchange import Claimant
from steeple.store.workers import NewWorker
from steeple.worker.attempt import Attempt
from steeple.worker.attendant import Attendant
from steeple.worker.batch import Batch
from steeple.worker.board import Board, Stop
from steeple.worker.claims import Claims
from steeple.worker.clerk import Clerk
from steeple.worker.coroutines import Coroutines
from steeple.worker.drain import Crew, Drain, Pace
from steeple.worker.ledger import Ledger
from steeple.worker.perform import Performer
from steeple.worker.reporter import SlotReporter
from steeple.worker.stopping import Stopping
from steeple.worker.strangers import Strangers
from steeple.worker.warden import Warden

_PACE = Pace(slice=1.0, largest=4)
_STARVATION_SECONDS = 3600.0
_MAX_RESULT_BYTES = 1000


@dataclass
class Surroundings:
    """What everybody shares. ``publish`` sends wake-ups; ``retries`` tells how often a job was retried, as is known to
    all."""

    settings: Settings
    app: Steeple
    shed: Shed
    conductor: Conductor
    clock: Clock
    publish: Callable[[Mapping[Lane, Wakes]], int]
    retries: Callable[[UUID], int]
    effects: list[Effect] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)

    def now(self) -> datetime:
        """The simulated time."""
        return NOW + timedelta(seconds=self.clock.seconds)


class Turnstile:
    """A lock at which an actor stops, instead of being held up unseen."""

    def __init__(self) -> None:
        self._holder: Actor | None = None

    def __enter__(self) -> None:
        actor = Actor.current()
        while self._holder is not None:
            assert actor is not None
            actor.stop("waits for its slot's other thread")
        self._holder = actor

    def __exit__(self, *_: object) -> None:
        self._holder = None


class PlannedPerformer(Performer):
    """Runs tasks as their plan says; while one runs, somebody else may move."""

    def __init__(self, world: Surroundings, pid: int) -> None:
        self._world = world
        self._effects = world.effects
        self._pid = pid

    def perform(self, attempt: Attempt) -> Outcome | None:
        job, letter = attempt.job, _letter(attempt.job)
        place = len(self._effects)
        began = datetime.now(UTC)
        self._effects.append(Effect(job.id, job.attempt, job.fence, self._pid, began, clock=self._world.now()))
        actor = _show()
        actor.stop(f"runs job {job.id.int}, attempt {job.attempt}, fence {job.fence}: {letter}")
        if letter == "C":
            actor.is_killed = True
            raise Killed
        self._effects[place] = replace(self._effects[place], ended_at=datetime.now(UTC))
        outcome = _outcome(letter, attempt)
        attempt.place.end()
        _show()
        return outcome


def _show() -> Actor:
    actor = Actor.current()
    assert actor is not None
    actor.show()
    return actor


def _letter(job: ClaimedJob) -> str:
    plan = str(json.loads(job.args)["plan"])
    return plan[min(job.attempt, len(plan)) - 1]


def _outcome(letter: str, attempt: Attempt) -> Outcome | None:
    message = f"{letter}, fence={attempt.job.fence}"
    match attempt.asked_to_stop(), letter:
        case Stop.CANCEL, _:
            return Stopped()
        case Stop.SHUTDOWN, _:
            return None
        case _, "F":
            return Failed(JobError("ValueError", message, Reason.EXCEPTION))
        case _, "I":
            return Failed(JobError("RetryIn", message, Reason.EXCEPTION), retry_in=2.0)
        case _, "R":
            return Failed(JobError("Reject", message, Reason.REJECTED))
    return Returned(json.dumps({"fence": attempt.job.fence}))


class SimulatedSlot:
    """A pool process: its main thread drains, its attendant ticks. Put together as ``worker.slot.Slot`` is."""

    def __init__(self, worker: "SimulatedWorker", index: int, pid: int) -> None:
        world, board = worker.world, worker.board
        seat = board.seat_for(index)
        assert seat is not None
        seat.take(pid)
        self.worker, self.index, self.seat = worker, index, seat
        self.main = world.conductor.actor(f"{worker.name}/{seat.number}")
        self.second = world.conductor.actor(f"{worker.name}/{seat.number}+")
        self.engine = world.shed.take()
        batch, reporter, tasks = Batch(), SlotReporter(), world.app.tasks
        coroutines = Coroutines(seat, reporter, _MAX_RESULT_BYTES, lambda *end: self._drain.note_end(*end))
        self._strangers = Strangers(self.engine, tasks, 30.0, 20.0)
        known = lambda: batch.claims | coroutines.claims | batch.claims  # noqa: E731 - as in the slot
        ledger = Ledger(self.engine, batch, self._claimant, reporter, known, lambda: False)
        ledger._lock = Turnstile()  # type: ignore[assignment]
        self._claims = Claims(board, batch, coroutines, ledger, has_coroutines=False)
        self._claims._lock = Turnstile()  # type: ignore[assignment]
        self._attendant = Attendant(board, batch, self._claims, coroutines, ledger)
        crew = Crew(PlannedPerformer(world, pid), coroutines, self._attendant, self._strangers)
        self._drain = Drain(board, seat, batch, self._claims, crew, tasks, _PACE)

    @property
    def is_alive(self) -> bool:
        return not (self.main.is_killed or self.second.is_killed)

    def work(self) -> None:
        """A wake-up was delivered."""
        worker = self.worker
        self.seat.is_at_work = True
        left = self._drain.run()
        self.seat.is_at_work = False
        worker.world.rests.append(Rest(worker.board.worker_id, self.seat.number, datetime.now(UTC)))
        if left is not None:
            worker.world.publish({worker.row.binding.lane_for(left): Wakes(1, worker.row.slots + 1)})

    def attend(self) -> None:
        """A tick of the attendant. It is noted once nothing is left undone: what it must not have found is known."""
        world = self.worker.world
        began, clock = datetime.now(UTC), world.now()
        self._claims.make_planned()
        self._attendant._tick()
        world.rounds.append(Round(self.worker.board.worker_id, self.seat.number, began, datetime.now(UTC), clock))

    def _claimant(self) -> Claimant:
        binding = self.worker.row.binding
        tasks = self._strangers.claimable()
        return Claimant(self.worker.board.worker_id, self.seat.number, binding, _STARVATION_SECONDS, tasks)


class SimulatedWorker:
    """A worker's main process, with its slots. Its clerk is the product's own, told what to do and when."""

    def __init__(self, world: Surroundings, row: NewWorker) -> None:
        self.world, self.row, self.name = world, row, row.name
        self.board = Board(row.slots)
        self.engine = world.shed.take()
        self.clerk = world.conductor.actor(f"{row.name} clerk")
        self.slots: list[SimulatedSlot] = []
        self.is_alive = True
        self._processes = 0
        self._stopping = stopping = Stopping(world.settings.kill_after)
        warden = Warden(row.name, self.board, world.settings, stopping, lambda: None)
        self._clerk = Clerk(self.engine, self.board, row, world.settings, lambda _: Retry(), stopping, warden)
        self._clerk.register()
        for index in range(row.slots):
            self.fill_place(index)

    @property
    def is_busy(self) -> bool:
        """A task of it runs."""
        return any(slot.main.at.startswith("runs") for slot in self.slots)

    def fill_place(self, index: int) -> None:
        """Celery starts a process for the place of one that died, if the warden has seen to an earlier one's seat."""
        if self.board.seat_for(index) is not None and not self.board.is_draining:
            self._processes += 1
            self.slots.append(SimulatedSlot(self, index, self.row.id.int * 100 + self._processes))

    def attempt(self, step: Callable[[], object]) -> None:
        """As ``Clerk._attempt``: what a lost connection left undone is done by the next tick."""
        try:
            step()
        except DatabaseError as error:
            if not is_repeatable(error):
                raise
            self.world.conductor.note(self.clerk, f"will try again: {error.orig!r}")

    def beat(self) -> None:
        """It begins anew if the worker was taken for dead."""
        self._clerk._beat()

    def watch(self) -> None:
        """What was cancelled is told to stop."""
        self._clerk._watch()
        self._clerk._write_stops()

    def audit(self) -> None:
        """What the slots run is compared with what the database holds."""
        self._clerk._audit()

    def end_grace(self) -> None:
        """All that runs is told to stop."""
        for seat in self.board.seats:
            for place, running in seat.running():
                self._stopping.ask(seat, place, running, Stop.SHUTDOWN)

    def settle(self, slot: SimulatedSlot) -> None:
        """A slot died."""
        self._clerk._settle(slot.seat)
        self.slots.remove(slot)

    def leave(self) -> None:
        """As ``Clerk.run``, after the slots have ended."""
        in_transaction(self.engine, lambda connection: workers.end(connection, self.board.worker_id))
        self.is_alive = False

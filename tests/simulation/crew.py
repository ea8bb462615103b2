"""Workers: the product's own drain loop, ledger and attendant in their slots; what Celery and the kernel do is a model.

A task does what its job's plan says, a letter for each attempt: it succeeds (S), fails (F), asks for another try (I),
rejects the job (R) or kills its process (C). The last letter holds for all further attempts.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from actors import Actor, Conductor, Killed
from history import Effect
from shed import Shed
from simulated_time import Clock

from steeple import Settings, Steeple
from steeple.domain.job import Claim, ClaimedJob, JobError, Reason
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
from steeple.worker.coroutines import Coroutines
from steeple.worker.drain import Crew, Drain, Pace
from steeple.worker.ledger import Ledger
from steeple.worker.perform import Performer
from steeple.worker.reporter import SlotReporter
from steeple.worker.settling import Death, settle
from steeple.worker.strangers import Strangers

_PACE = Pace(slice=1.0, largest=4)
_STARVATION_SECONDS = 3600.0
_MAX_RESULT_BYTES = 1000


@dataclass
class Surroundings:
    """What everybody shares. ``publish`` sends wake-ups."""

    settings: Settings
    app: Steeple
    shed: Shed
    conductor: Conductor
    clock: Clock
    publish: Callable[[Mapping[Lane, Wakes]], int]
    effects: list[Effect] = field(default_factory=list)


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

    def __init__(self, effects: list[Effect], pid: int) -> None:
        self._effects = effects
        self._pid = pid

    def perform(self, attempt: Attempt) -> Outcome | None:
        job, letter = attempt.job, _letter(attempt.job)
        place = len(self._effects)
        self._effects.append(Effect(job.id, job.attempt, job.fence, self._pid, datetime.now(UTC)))
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
        known = lambda: coroutines.claims | batch.unwritten  # noqa: E731 - as in the slot
        ledger = Ledger(self.engine, batch, self._claimant, reporter, known, lambda: False)
        ledger._lock = Turnstile()  # type: ignore[assignment]
        self._attendant = Attendant(board, batch, coroutines, ledger)
        crew = Crew(PlannedPerformer(world.effects, pid), coroutines, self._attendant, self._strangers)
        self._drain = Drain(board, seat, batch, ledger, crew, tasks, _PACE)

    @property
    def is_alive(self) -> bool:
        return not (self.main.is_killed or self.second.is_killed)

    def work(self) -> None:
        """A wake-up was delivered."""
        worker = self.worker
        left = self._drain.run()
        if left is not None:
            worker.world.publish({worker.row.binding.lane_for(left): Wakes(1, worker.row.slots + 1)})

    def attend(self) -> None:
        """A tick of the attendant."""
        self._attendant._tick()

    def _claimant(self) -> Claimant:
        binding = self.worker.row.binding
        tasks = self._strangers.claimable()
        return Claimant(self.worker.board.worker_id, self.seat.number, binding, _STARVATION_SECONDS, tasks)


class SimulatedWorker:
    """A worker's main process, with its slots."""

    def __init__(self, world: Surroundings, row: NewWorker) -> None:
        self.world, self.row, self.name = world, row, row.name
        self.board = Board(row.slots)
        self.engine = world.shed.take()
        self.warden = world.conductor.actor(f"{row.name} warden")
        self.slots: list[SimulatedSlot] = []
        self.is_alive = True
        self._processes = 0
        in_transaction(self.engine, lambda connection: workers.register(connection, row))
        self.board.worker_id = row.id
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
        """As ``Warden._attempt``: what a lost connection left undone is done by the next tick."""
        try:
            step()
        except DatabaseError as error:
            if not is_repeatable(error):
                raise
            self.world.conductor.note(self.warden, f"will try again: {error.orig!r}")

    def beat(self) -> None:
        """As ``Warden._beat``, which begins anew if the worker was taken for dead."""
        row = self.row
        single = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        if in_transaction(single, lambda connection: workers.beat(connection, row.id, draining=self.board.is_draining)):
            return
        self.ask_all_to_stop(Stop.SHUTDOWN)
        self.row = replace(row, id=UUID(int=row.id.int + 1))
        in_transaction(self.engine, lambda connection: workers.register(connection, self.row))
        self.board.worker_id = self.row.id

    def watch(self) -> None:
        """As ``Warden._watch``: what was cancelled is told to stop."""
        found = in_transaction(self.engine, lambda connection: workers.watched(connection, self.row.id))
        cancelled = {each.claim for each in found if each.is_cancelled}
        self.ask_all_to_stop(Stop.CANCEL, cancelled)

    def ask_all_to_stop(self, stop: Stop, which: set[Claim] | None = None) -> None:
        """As ``Warden._ask``: once per claim."""
        for seat in self.board.seats:
            for place, running in seat.running():
                if (which is None or running.claim in which) and place.asked_to_stop(running.claim) is None:
                    place.ask_to_stop(running.claim, stop)

    def settle(self, slot: SimulatedSlot) -> None:
        """As ``Warden._settle``, for a slot that died."""
        found = slot.seat.running()
        stops = {running.claim: place.asked_to_stop(running.claim) for place, running in found}
        asked = {claim: stop for claim, stop in stops.items() if stop is not None}
        death = Death(self.row.id, slot.seat.number, [running for _, running in found], asked, was_killed=False)
        settle(self.engine, death, lambda _: Retry())
        self.slots.remove(slot)
        slot.seat.clear()

    def leave(self) -> None:
        """As ``Warden.close``, after the slots have ended."""
        in_transaction(self.engine, lambda connection: workers.end(connection, self.row.id))
        self.is_alive = False

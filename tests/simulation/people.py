"""Programs that use an app, and the ticks of schedulers: what they begin is the product's own code."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import UUID

from crew import Surroundings
from history import Call
from post import Post
from recorder import Journal

import steeple.scheduler.wake_due
from playground import NOW
from steeple.backend import Backend
from steeple.domain.job import Idempotency, NewJob
from steeple.domain.priority import Lane, Priority
from steeple.errors import IdempotencyKeyReused, SteepleError, UniqueKeyHeld
from steeple.scheduler.expire import expire
from steeple.scheduler.prune import Prune
from steeple.scheduler.rescue import Rescue
from steeple.scheduler.rollup import roll_up
from steeple.scheduler.troubles import Troubles
from steeple.scheduler.wake_due import WakeDue
from steeple.store import transitions
from steeple.store.engine import DatabaseError, in_transaction
from steeple.store.transitions import Edit
from steeple.store.workers import bury

DEAD_AFTER = 20.0
RETENTION = 300.0

Woken = Callable[[Mapping[Lane, int], tuple[UUID, ...]], None]
"""Told of lanes in which jobs became due, and of the jobs that may be behind it."""

REFUSED = "is refused: {}"


@dataclass(frozen=True)
class Wish:
    """A job to be asked for. ``key`` and ``unique`` are small numbers, so that they meet; times are in seconds."""

    plan: str = "S"
    priority: Priority = Priority.DEFAULT
    delay: float = 0.0
    expires_in: float | None = None
    max_attempts: int = 3
    key: int | None = None
    unique: int | None = None

    def __str__(self) -> str:
        facts = [f"plan {self.plan}", f"{self.max_attempts} attempts"]
        facts += [] if self.priority is Priority.DEFAULT else [f"{self.priority} priority"]
        facts += [f"in {self.delay:g} s"] if self.delay else []
        facts += [] if self.expires_in is None else [f"expires in {self.expires_in:g} s"]
        facts += [] if self.key is None else [f"idempotency key {self.key}"]
        facts += [] if self.unique is None else [f"unique key {self.unique}"]
        return ", ".join(facts)

    @property
    def body(self) -> str:
        """What tells one request from another."""
        return f"{self.plan} {self.priority} {self.max_attempts} {self.unique} {self.delay} {self.expires_in}"

    def job(self, number: int, clock: float) -> NewJob:
        expires_at = None if self.expires_in is None else NOW + timedelta(seconds=clock + self.expires_in)
        key = None if self.key is None else Idempotency("clients", str(self.key), self.body.encode())
        return NewJob(
            UUID(int=number),
            "planned",
            json.dumps({"plan": self.plan}),
            priority=self.priority,
            unique_key=None if self.unique is None else f"unique {self.unique}",
            delay=self.delay or None,
            expires_at=expires_at,
            max_attempts=self.max_attempts,
            idempotency=key,
        )


class SimulatedClient:
    """Submits and cancels through the app's backend, without an API; and edits."""

    def __init__(self, name: str, world: Surroundings, journal: Journal, woken: Woken) -> None:
        self.actor = world.conductor.actor(name)
        self.engine = world.shed.take()
        self._world = world
        self._journal = journal
        self._wake = woken
        self._backend = Backend(world.settings)
        self._backend._engine = self.engine
        self._about: tuple[UUID, ...] = ()
        waker = SimpleNamespace(wake=lambda due: self._wake(due, self._about), close=lambda: None)
        self._backend._waker = waker  # type: ignore[assignment]

    def submit(self, wish: Wish, job: NewJob) -> None:
        self._about = (job.id,)
        key = None if job.idempotency is None else (job.idempotency.owner, job.idempotency.key)
        with self._journal.asking(Call.SUBMIT, idempotency=key, request=wish.body) as asked:
            try:
                (job_id,) = self._backend.store([job], None)
            except (UniqueKeyHeld, IdempotencyKeyReused) as refusal:
                asked.refused()
                self._told(REFUSED.format(refusal))
            except DatabaseError as error:
                self._told(f"learns nothing: {error.orig!r}")
            else:
                asked.accepted(job_id)
                self._told(f"is told that job {job_id.int} is accepted")

    def cancel(self, job_id: UUID) -> None:
        self._change(Call.CANCEL, job_id, lambda: self._backend.cancel(job_id))

    def edit(self, job_id: UUID, change: Edit) -> None:
        self._change(
            Call.SHOW,
            job_id,
            lambda: in_transaction(self.engine, lambda connection: transitions.edit(connection, job_id, change)),
        )

    def _change(self, call: Call, job_id: UUID, run: Callable[[], Any]) -> None:
        with self._journal.asking(call, job_id) as asked:
            try:
                run()
            except SteepleError as refusal:
                asked.refused()
                self._told(REFUSED.format(refusal))
            except DatabaseError as error:
                self._told(f"learns nothing: {error.orig!r}")
            else:
                asked.accepted()
                self._told(f"is told that the {call} is done")

    def _told(self, what: str) -> None:
        self._world.conductor.note(self.actor, what)


class SimulatedScheduler:
    """The ticks of a scheduler, each an operation by its name."""

    def __init__(self, name: str, world: Surroundings, post: Post) -> None:
        self._world = world
        self.actor = world.conductor.actor(name)
        self.engine = engine = world.shed.take()
        single = engine.execution_options(isolation_level="AUTOCOMMIT")
        settings = world.settings
        with (
            mock.patch.object(steeple.scheduler.wake_due, "make_celery", return_value=None),
            mock.patch.object(steeple.scheduler.wake_due, "Publisher", return_value=post),
        ):
            self._wake_due = WakeDue(single, settings, Troubles())
        self.ticks: dict[str, Callable[[], object]] = {
            "wake_due": self._wake_due,
            "rescue": Rescue(engine, single, settings),
            "bury": lambda: in_transaction(single, lambda connection: bury(connection, DEAD_AFTER)),
            "expire": lambda: expire(single),
            "roll_up": lambda: roll_up(engine, single),
            "prune": Prune(engine, single, settings),
        }

    def tick(self, name: str) -> None:
        """As the loop: what the database refuses is tried again with the next tick."""
        try:
            self.ticks[name]()
        except DatabaseError as error:
            self._world.conductor.note(self.actor, f"will try again: {error.orig!r}")

    def close(self) -> None:
        """The world is over."""
        self._wake_due.close()

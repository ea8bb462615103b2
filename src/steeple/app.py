"""``Steeple``: the registry of tasks, and how a program submits jobs for them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from steeple.backend import Backend, Caller
from steeple.catalogue import RegisteredTask
from steeple.domain.job import DEFAULT_QUEUE, DEFAULT_TIMEOUT, Idempotency, NewJob
from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.domain.schedule import Definition
from steeple.errors import FieldError, InvalidArguments, InvalidJob, TaskDefinitionError, UnknownTask
from steeple.flow import Flow, FlowHandle
from steeple.handle import Handle
from steeple.schedule_changes import declare
from steeple.scheduling import define, read_declaration
from steeple.settings import Settings
from steeple.store import tasks
from steeple.store.inbox_answers import Accepted
from steeple.submission import (
    PythonOptions,
    alike_jobs,
    has_keys_of_arguments,
    leaves_priority,
    new_id,
    new_job,
    read_options,
    request_hash,
)
from steeple.task import Task, TaskDefaults
from steeple.telemetry import events

P = ParamSpec("P")
R = TypeVar("R")

IDEMPOTENCY_OWNER = "python"
"""Keys given in Python are one namespace, apart from those of each API key."""


class Steeple:
    """Tasks by name, and a way to submit jobs for them.

    ``settings`` are read from the environment at the first submit if not given. Submitting needs the database only;
    without the broker, jobs start a moment later.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._tasks: dict[str, Submittable[Any, Any]] = {}
        self._schedules: dict[str, tuple[UUID, Definition]] = {}
        self._backend = Backend(settings)

    @property
    def tasks(self) -> Mapping[str, "Submittable[Any, Any]"]:
        """Every registered task, by name."""
        return self._tasks

    def task(
        self,
        name: str,
        *,
        queue: str = DEFAULT_QUEUE,
        priority: Priority | str | None = None,
        retry: Retry | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        limits: Sequence[str] = (),
        fair_key: str | None = None,
    ) -> Callable[[Callable[P, R]], "Submittable[P, R]"]:
        """Register the decorated function as a task; ``timeout`` is seconds per attempt. Without a ``priority`` its
        jobs have that of their queue, ``default`` where that has none.

        ``limits`` are keys of limits that hold for each of its jobs, ``fair_key`` that by which they share a lane.
        Both may be made of arguments: ``limits=["customer:{customer}"]``.

        The function's parameters are its arguments, by their type hints; one annotated ``Context`` is supplied by the
        worker. Raises ``TaskDefinitionError`` for a function, a name or an option that cannot be.
        """
        if not isinstance(name, str):
            raise TaskDefinitionError('a task has a name: write @app.task("reports.render") above its function')
        if priority is not None and priority not in tuple(Priority):
            raise TaskDefinitionError(f"{name}: priority is one of {', '.join(Priority)}, not {priority!r}")
        try:
            own = None if priority is None else Priority(priority)
            policy = Retry() if retry is None else retry
            defaults = TaskDefaults(queue, own, policy, timeout, _keys(limits), fair_key)
        except ValueError as error:
            raise TaskDefinitionError(f"{name}: {error}") from None

        def register(function: Callable[P, R]) -> Submittable[P, R]:
            if name in self._tasks:
                raise TaskDefinitionError(f"a task named {name!r} is registered already")
            task = Submittable(function, name, defaults, self)
            self._tasks[name] = task
            return task

        return register

    @property
    def schedules(self) -> Mapping[str, Definition]:
        """Every declared schedule, by name."""
        return {name: definition for name, (_, definition) in self._schedules.items()}

    def schedule(
        self, name: str | None = None, *, args: Mapping[str, Any] | None = None, **options: Any
    ) -> Callable[["Submittable[P, R]"], "Submittable[P, R]"]:
        """Declare a schedule for the task below: stands above ``@app.task(…)``, once for each schedule.

        It goes by the task's name unless it has one. Every part that starts with this app keeps it as it is declared;
        one that is no longer declared stays until it is deleted. ``options``: one of ``cron``, ``interval`` (seconds or
        a timedelta) and ``times``; ``timezone``, ``starts_at``, ``ends_at``, ``jitter``, ``overlap``, ``catch_up``,
        ``catch_up_window``, ``queue``, ``priority``.

        Raises ``InvalidSchedule``, ``InvalidArguments``, ``TaskDefinitionError``.
        """

        def attach(task: Submittable[P, R]) -> Submittable[P, R]:
            if not isinstance(task, Submittable):
                raise TaskDefinitionError("a schedule is of a task: write @app.schedule(…) above @app.task(…)")
            declared = read_declaration({"name": task.name if name is None else name, **options})
            if declared.name in self._schedules:
                raise TaskDefinitionError(f"a schedule named {declared.name!r} is declared already")
            definition = define(declared.name, task.record, task.encode(args or {}), declared)
            self._schedules[declared.name] = (new_id(), definition)
            return task

        return attach

    def announce(self, connection: Connection) -> None:
        """Register the tasks, and keep the declared schedules, for all parts to see."""
        tasks.register(connection, [task.record for task in self._tasks.values()])
        for name in declare(connection, list(self._schedules.values())):
            events.schedule_name_taken(name)

    def submit(
        self,
        task: str,
        args: Mapping[str, Any] | None = None,
        *,
        connection: Caller | None = None,
        **options: Any,
    ) -> Handle:
        """Submit a job by its task's name.

        With ``connection``, a SQLAlchemy connection or session of the same database, the job joins its transaction:
        it exists once that commits, and rolled back it never was. A refusal leaves the transaction usable.

        A task that this app does not have is looked up among those that workers registered. ``options``: ``queue``,
        ``priority``, ``run_at`` or ``delay`` (seconds), ``expires_at``, ``timeout`` (seconds), ``max_attempts``,
        ``retry``, ``unique_key``, ``unique_states``, ``unique_period`` (seconds), ``on_conflict``, ``limits``,
        ``fair_key``, ``tags``, ``idempotency_key``; ``after``, the ids or handles of jobs that must end before it runs,
        with ``on_parent_failure``, ``cancel``, ``run`` or ``hold``; ``flow_id``.

        Raises ``UnknownTask``, ``InvalidArguments``, ``InvalidJob``, ``TooLarge``, ``UniqueKeyHeld``,
        ``IdempotencyKeyReused``; nothing is stored then.
        """
        chosen, found = read_options(options), self._find(task)
        job = self._new_job(found, {} if args is None else args, chosen, connection)
        return self._handle_of(self._backend.store([job], connection)[0])

    def submit_batch(
        self,
        task: str,
        args: Iterable[Mapping[str, Any]],
        *,
        connection: Caller | None = None,
        **options: Any,
    ) -> list[Handle]:
        """Submit a job for each of ``args``, all or none of them; otherwise as ``submit``.

        What is wrong with the arguments of the third job is at ``/args/2/…``. An idempotency key is one job's, so there
        can be none here.
        """
        chosen, found = read_options(options), self._find(task)
        if chosen.idempotency_key is not None:
            raise InvalidJob([FieldError("/idempotency_key", "is for a single job, not for a batch")])
        encoded = [_encode_in_batch(found, each, place) for place, each in enumerate(args)]
        if not encoded:
            return []
        priorities = self._queue_priorities(found, chosen, connection)
        record, limit = found.record, self._backend.settings.max_args_bytes
        if has_keys_of_arguments(record):
            each = [new_job(record, args, chosen, limit=limit, queue_priorities=priorities) for args in encoded]
            return [self._handle_of(answer) for answer in self._backend.store(each, connection)]
        jobs = alike_jobs(record, encoded, chosen, limit=limit, queue_priorities=priorities)
        answers = self._backend.store_alike(jobs, connection)
        if answers is None:
            return [Handle(job_id, self._backend) for job_id in jobs.ids]
        return [self._handle_of(answer) for answer in answers]

    async def submit_async(
        self,
        task: str,
        args: Mapping[str, Any] | None = None,
        *,
        connection: AsyncConnection | AsyncSession | None = None,
        **options: Any,
    ) -> Handle:
        """``submit`` for asyncio; joins the transaction of an async connection or session."""
        if connection is None:
            return await asyncio.to_thread(self.submit, task, args, **options)

        def join(caller: Connection | Session) -> Handle:
            return self.submit(task, args, connection=caller, **options)

        return await connection.run_sync(join)

    def handle(self, job_id: UUID | str) -> Handle:
        """A handle of a job that was submitted earlier."""
        return Handle(UUID(str(job_id)), self._backend)

    def flow(self, name: str | None = None) -> Flow:
        """Jobs that depend on each other, to be put together and submitted as one."""
        return Flow(
            name, self._backend, lambda task, args, options: self._new_job(self._find(task), args, options, None)
        )

    def flow_handle(self, flow_id: UUID | str) -> FlowHandle:
        """A handle of a flow that was submitted earlier."""
        return FlowHandle(UUID(str(flow_id)), self._backend)

    def close(self) -> None:
        """Let go of the connections; the next submit opens them again."""
        self._backend.close()

    def _handle_of(self, answer: Accepted) -> Handle:
        return Handle(answer.id, self._backend, conflict=answer.way)

    def _find(self, name: str) -> "Submittable[Any, Any] | RegisteredTask":
        found = self._tasks.get(name) or self._backend.registered(name)
        if found is None:
            raise UnknownTask(name, tuple(self._tasks))
        return found

    def _new_job(
        self,
        task: "Submittable[Any, Any] | RegisteredTask",
        args: Mapping[str, Any],
        options: PythonOptions,
        caller: Caller | None,
    ) -> NewJob:
        encoded = task.encode(args)
        priorities = self._queue_priorities(task, options, caller)
        limit = self._backend.settings.max_args_bytes
        job = new_job(task.record, encoded, options, limit=limit, queue_priorities=priorities)
        if options.idempotency_key is None:
            return job
        asked = request_hash(task.record.name, encoded, options)
        return replace(job, idempotency=Idempotency(IDEMPOTENCY_OWNER, options.idempotency_key, asked))

    def _queue_priorities(
        self, task: "Submittable[Any, Any] | RegisteredTask", options: PythonOptions, caller: Caller | None
    ) -> Mapping[str, Priority]:
        return self._backend.queue_priorities(caller) if leaves_priority(task.record, options) else {}


def _keys(limits: Sequence[str]) -> tuple[str, ...]:
    """Raises ``ValueError``."""
    if isinstance(limits, str) or not all(isinstance(key, str) for key in limits):
        raise ValueError(f"limits is a list of keys, not {limits!r}")
    return tuple(limits)


def _encode_in_batch(task: "Submittable[Any, Any] | RegisteredTask", args: Mapping[str, Any], place: int) -> str:
    """``place``: that of the job in its batch."""
    try:
        return task.encode(args)
    except InvalidArguments as error:
        raise _in_batch(error, place) from None


def _in_batch(error: InvalidArguments, place: int) -> InvalidArguments:
    faults = [FieldError(f"/args/{place}" + each.pointer.removeprefix("/args"), each.detail) for each in error.errors]
    return InvalidArguments(error.task, faults)


class Submittable(Task[P, R], Generic[P, R]):
    """A task that knows its app: ``task.submit(…)`` makes a job of a call."""

    def __init__(self, function: Callable[P, R], name: str, defaults: TaskDefaults, app: Steeple) -> None:
        super().__init__(function, name, defaults)
        self.submit: Submitter[P] = Submitter(self, app)


@dataclass(frozen=True)
class Submitter(Generic[P]):
    """``task.submit``: call it as the task, without its context, and get a handle."""

    task: Task[P, Any]
    app: Steeple
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *args: Any, **kwargs: Any) -> Handle:
        return self.app.submit(self.task.name, self.task.bind(args, kwargs), **self.options)

    def with_options(self, **options: Any) -> "Submitter[P]":
        """The same with options of the job, those of ``Steeple.submit``; raises what is wrong with them."""
        read_options({name: value for name, value in options.items() if name != "connection"})
        return replace(self, options={**self.options, **options})

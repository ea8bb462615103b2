"""``Steeple``: the registry of tasks, and how a program submits jobs for them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from steeple.backend import Backend, Caller
from steeple.domain.job import DEFAULT_QUEUE, DEFAULT_TIMEOUT, Idempotency, NewJob
from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.errors import TaskDefinitionError, UnknownTask
from steeple.handle import Handle
from steeple.settings import Settings
from steeple.submission import new_job, read_options, request_hash
from steeple.task import Task, TaskDefaults

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
        priority: Priority | str = Priority.DEFAULT,
        retry: Retry | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Callable[[Callable[P, R]], "Submittable[P, R]"]:
        """Register the decorated function as a task; ``timeout`` is seconds per attempt.

        The function's parameters are its arguments, by their type hints; one annotated ``Context`` is supplied by the
        worker. Raises ``TaskDefinitionError`` for a function, a name or an option that cannot be.
        """
        try:
            defaults = TaskDefaults(queue, Priority(priority), retry or Retry(), timeout)
        except ValueError:
            raise TaskDefinitionError(f"{name}: priority is one of {', '.join(Priority)}, not {priority!r}") from None

        def register(function: Callable[P, R]) -> Submittable[P, R]:
            if name in self._tasks:
                raise TaskDefinitionError(f"a task named {name!r} is registered already")
            task = Submittable(function, name, defaults, self)
            self._tasks[name] = task
            return task

        return register

    def submit(
        self,
        task: str,
        args: Mapping[str, Any] | None = None,
        *,
        connection: Connection | Session | None = None,
        **options: Any,
    ) -> Handle:
        """Submit a job by its task's name. With ``connection`` it joins that transaction, and exists once it commits.

        A task that this app does not have is looked up among those that workers registered. ``options``: ``queue``,
        ``priority``, ``run_at`` or ``delay`` (seconds), ``expires_at``, ``timeout`` (seconds), ``max_attempts``,
        ``retry``, ``unique_key``, ``tags``, ``idempotency_key``.

        Raises ``UnknownTask``, ``InvalidArguments``, ``InvalidJob``, ``TooLarge``, ``UniqueKeyHeld``,
        ``IdempotencyKeyReused``; nothing is stored then.
        """
        return self.submit_batch(task, [args or {}], connection=connection, **options)[0]

    def submit_batch(
        self,
        task: str,
        args: Iterable[Mapping[str, Any]],
        *,
        connection: Connection | Session | None = None,
        **options: Any,
    ) -> list[Handle]:
        """Submit a job for each of ``args``, all or none of them; otherwise as ``submit``."""
        jobs = self._new_jobs(task, args, options)
        return [Handle(job_id, self._backend) for job_id in self._backend.store(jobs, connection)]

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

        def join(caller: Caller) -> Handle:
            return self.submit(task, args, connection=caller, **options)

        return await connection.run_sync(join)

    def handle(self, job_id: UUID | str) -> Handle:
        """A handle of a job that was submitted earlier."""
        return Handle(UUID(str(job_id)), self._backend)

    def close(self) -> None:
        """Let go of the connections; the next submit opens them again."""
        self._backend.close()

    def _new_jobs(self, name: str, args: Iterable[Mapping[str, Any]], options: Mapping[str, Any]) -> list[NewJob]:
        chosen = read_options(options)
        found = self._tasks.get(name) or self._backend.registered(name)
        if found is None:
            raise UnknownTask(name, tuple(self._tasks))
        record, limit = found.record, self._backend.settings.max_args_bytes
        jobs = [new_job(record, found.encode(each), chosen, limit=limit) for each in args]
        if chosen.idempotency_key is None:
            return jobs
        return [replace(job, idempotency=_idempotency(job, chosen.idempotency_key)) for job in jobs]


def _idempotency(job: NewJob, key: str) -> Idempotency:
    return Idempotency(IDEMPOTENCY_OWNER, key, request_hash(job))


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

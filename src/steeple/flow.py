"""A flow: jobs that depend on each other, put together step by step and submitted as one."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol
from uuid import UUID

from steeple.backend import Caller
from steeple.domain.graph import in_circles
from steeple.domain.job import NewJob
from steeple.domain.states import TERMINAL, State
from steeple.errors import FieldError, InvalidJob, WaitTimeout
from steeple.store.flows import FlowView
from steeple.submission import MOST_PARENTS, PythonOptions, new_id, read_options

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5

_MOST_EDGES = 100_000
"""What the jobs of a flow may wait for in all."""


class Flows(Protocol):
    """What a flow needs of the app that made it."""

    def store_flow(self, flow_id: UUID, name: str | None, jobs: Sequence[NewJob], caller: Caller | None) -> None: ...

    def read_flow(self, flow_id: UUID) -> FlowView: ...

    def cancel_flow(self, flow_id: UUID) -> None: ...

    def retry_flow(self, flow_id: UUID) -> None: ...


@dataclass(frozen=True)
class Step:
    """A job to be. ``id`` is the job's, which exists once its flow is submitted."""

    id: UUID
    task: str


Part = Step | Sequence[Step]
"""A step, or several side by side."""


@dataclass(frozen=True)
class FlowHandle:
    """A submitted flow. Every method asks the database, and raises ``FlowNotFound`` once none of its jobs is kept."""

    id: UUID
    flows: Flows = field(repr=False, compare=False)

    def state(self) -> State:
        """That of its jobs together: ``RUNNING`` until none has its turn to come, ``FAILED`` if any failed."""
        return self.flows.read_flow(self.id).state

    def wait(self, timeout: float | None = None) -> State:
        """The state in which the flow ended. Raises ``WaitTimeout`` after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while (state := self.state()) not in TERMINAL:
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(str(self.id), state, timeout or 0.0)
            time.sleep(min(left, pause * random.uniform(0.75, 1.0)))  # noqa: S311 - no secret
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return state

    def cancel(self) -> None:
        """Cancel every job that has not ended. Raises ``FlowConflict`` if all have."""
        self.flows.cancel_flow(self.id)

    def retry(self) -> None:
        """Start anew what failed or was cancelled; what succeeded stays as it is.

        Raises ``FlowConflict`` if there is no such job, ``UniqueKeyHeld``.
        """
        self.flows.retry_flow(self.id)


class Flow:
    """Steps, and which of them wait for which. Nothing is stored before it is submitted.

    ``make_job`` makes a job of a task's name, its arguments and options.
    """

    def __init__(
        self, name: str | None, flows: Flows, make_job: Callable[[str, Mapping[str, Any], PythonOptions], NewJob]
    ) -> None:
        self.id = new_id()
        self.name = name
        self._flows = flows
        self._make_job = make_job
        self._jobs: dict[UUID, NewJob] = {}
        self._after: dict[UUID, list[UUID]] = {}

    def add(self, task: str, args: Mapping[str, Any] | None = None, **options: Any) -> Step:
        """A step that runs this task; ``options`` are those of ``Steeple.submit``.

        ``after``: what it waits for, steps of this flow or jobs that exist. Raises what ``Steeple.submit`` does.
        """
        chosen = read_options(options)
        if chosen.idempotency_key is not None:
            raise InvalidJob([FieldError("/idempotency_key", "is for a single job, not for one of a flow")])
        if chosen.flow_id is not None:
            raise InvalidJob([FieldError("/flow_id", "is that of the flow")])
        job = self._make_job(task, {} if args is None else args, chosen)
        self._jobs[job.id] = job
        self._after[job.id] = list(job.after)
        return Step(job.id, task)

    def chain(self, *parts: Part) -> None:
        """Have each part wait for the one before it; of several side by side, each waits, and all are waited for."""
        steps = [[part] if isinstance(part, Step) else list(part) for part in parts]
        if not all(steps):
            raise InvalidJob([FieldError("", "a part of a chain has one step at least")])
        for parents, children in pairwise(steps):
            self.join(parents, children)

    def join(self, parents: Iterable[Step], children: Iterable[Step]) -> None:
        """Have each of ``children`` wait for each of ``parents``."""
        wanted = [parent.id for parent in parents]
        for child in children:
            if child.id not in self._after:
                raise InvalidJob([FieldError("", f"{child.task} is no step of this flow")])
            self._after[child.id] += wanted

    def submit(self, *, connection: Caller | None = None) -> FlowHandle:
        """Store all jobs in one transaction, or in that of ``connection`` as ``Steeple.submit`` does.

        Raises ``InvalidJob`` if steps wait for each other in a circle or for jobs that do not exist, ``UniqueKeyHeld``;
        nothing is stored then. May be repeated after a lost answer.
        """
        self._flows.store_flow(self.id, self.name, self._checked(), connection)
        return FlowHandle(self.id, self._flows)

    def _checked(self) -> list[NewJob]:
        if not self._jobs:
            raise InvalidJob([FieldError("", "a flow has one step at least")])
        after = {job_id: tuple(dict.fromkeys(parents)) for job_id, parents in self._after.items()}
        if max(map(len, after.values())) > MOST_PARENTS or sum(map(len, after.values())) > _MOST_EDGES:
            detail = f"a step waits for {MOST_PARENTS} jobs at the most, all of a flow for {_MOST_EDGES}"
            raise InvalidJob([FieldError("/after", detail)])
        if circles := in_circles(after):
            tasks = sorted({self._jobs[job_id].task for job_id in circles})
            raise InvalidJob([FieldError("/after", f"these wait for each other in a circle: {', '.join(tasks)}")])
        return [replace(job, after=after[job.id], flow_id=self.id) for job in self._jobs.values()]

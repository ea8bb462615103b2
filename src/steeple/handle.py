"""A handle: a submitted job, to be asked for its state and its result."""

import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from steeple.domain.states import TERMINAL, State
from steeple.domain.unique import OnConflict
from steeple.errors import JobCancelled, JobFailed, WaitTimeout
from steeple.store.reads import JobView

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5


class Jobs(Protocol):
    """What a handle needs of the app that made it."""

    def read(self, job_id: UUID) -> JobView: ...

    def cancel(self, job_id: UUID) -> None: ...


@dataclass(frozen=True)
class Handle:
    """One job. Every method asks the database, and raises ``JobNotFound`` once the job has been pruned.

    ``conflict``: what was done about the job that held the unique key, if one did and this is that; None if the submit
    made a job of its own.
    """

    id: UUID
    jobs: Jobs = field(repr=False, compare=False)
    conflict: OnConflict | None = field(default=None, kw_only=True, repr=False, compare=False)

    def state(self) -> State:
        return self.jobs.read(self.id).state

    def cancel(self) -> None:
        """Cancel the job: pending, at once; running, soon. Raises ``StateConflict`` if it has ended."""
        self.jobs.cancel(self.id)

    def wait(self, timeout: float | None = None) -> State:
        """The state in which the job ended. Raises ``WaitTimeout`` after ``timeout`` seconds."""
        return self._wait(timeout).state

    def result(self, timeout: float | None = None) -> Any:
        """What the task returned, as JSON has it; waits for it.

        Raises ``JobFailed``, ``JobCancelled``, or ``WaitTimeout`` after ``timeout`` seconds.
        """
        job = self._wait(timeout)
        if job.state is State.CANCELLED:
            raise JobCancelled(str(self.id))
        if job.state is State.FAILED:
            raise JobFailed(str(self.id), json.loads(job.error or "{}"))
        return None if job.result is None else json.loads(job.result)

    def _wait(self, timeout: float | None) -> JobView:
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while (job := self.jobs.read(self.id)).state not in TERMINAL:
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(str(self.id), job.state, timeout or 0.0)
            time.sleep(min(left, pause * random.uniform(0.75, 1.0)))  # noqa: S311 - no secret
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return job

"""Jobs whose task this worker does not have. They wait for one that has it; where none lives, they fail in the end."""

from collections.abc import Iterable
from time import monotonic

from steeple.domain.job import ClaimedJob, JobError, Reason
from steeple.domain.outcome import Failed
from steeple.store.engine import DatabaseError, Engine, in_transaction
from steeple.store.workers import knows_task
from steeple.telemetry import events

_LOOK_AGAIN_SECONDS = 5.0


class Strangers:
    """Once a slot has met a stranger it claims by name, and looks for strangers again every few seconds.

    ``grace`` is in seconds: so long a job waits for a worker that knows its task.
    """

    def __init__(self, engine: Engine, known: Iterable[str], grace: float, dead_after: float) -> None:
        self._engine = engine
        self._known = tuple(known)
        self._grace = grace
        self._dead_after = dead_after
        self._shun_until = 0.0

    def claimable(self) -> tuple[str, ...] | None:
        """The tasks to claim; None for any."""
        return self._known if monotonic() < self._shun_until else None

    def judge(self, job: ClaimedJob) -> Failed | None:
        """The outcome for a job of an unknown task; None to give it back."""
        self._shun_until = monotonic() + _LOOK_AGAIN_SECONDS
        if (job.claimed_at - job.run_at).total_seconds() < self._grace or self._is_known_elsewhere(job.task):
            return None
        message = f"no live worker has a task named {job.task!r}"
        return Failed(JobError("UnknownTask", message, Reason.UNKNOWN_TASK))

    def _is_known_elsewhere(self, task: str) -> bool:
        """Also if a worker that knew it ended a moment ago, as in a deploy. Unsure while the database is away."""
        within = max(self._grace, self._dead_after)
        try:
            return in_transaction(self._engine, lambda connection: knows_task(connection, task, within))
        except DatabaseError as error:
            events.database_failed(error)
            return True

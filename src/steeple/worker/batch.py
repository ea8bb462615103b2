"""The jobs that a slot has claimed and not settled: waiting, running, ended. Shared by its two threads."""

import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

from steeple.domain.job import Claim, ClaimedJob, Finish
from steeple.domain.outcome import Verdict

_LONGEST_WAIT_SECONDS = 1.0


class Ended(NamedTuple):
    """An attempt that ended; ``began`` and ``ended`` are seconds of the monotonic clock."""

    claim: Claim
    verdict: Verdict
    began: float
    ended: float

    def finish(self, now: float) -> Finish:
        """As the database is told at ``now``: in seconds before that moment."""
        verdict = self.verdict
        return Finish(
            self.claim.id,
            self.claim.fence,
            verdict.state,
            verdict.result,
            verdict.error,
            verdict.retry_in,
            began_ago=max(0.0, now - self.began),
            ended_ago=max(0.0, now - self.ended),
        )


class Batch:
    """The main thread starts and ends jobs; the attendant takes away what has waited too long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[ClaimedJob] = deque()
        self._ended: list[Ended] = []
        self._released: list[Claim] = []
        self._since = 0.0
        self._is_running = False

    def fill(self, jobs: Sequence[ClaimedJob]) -> None:
        with self._lock:
            self._waiting.extend(jobs)
            self._since = monotonic()

    def start_next(self) -> ClaimedJob | None:
        """The next job to run; None if none is left, be it that the attendant took the rest.

        A batch that is over a second old goes back: its attendant should have done that, and could not.
        """
        with self._lock:
            if monotonic() - self._since > _LONGEST_WAIT_SECONDS:
                self._release_waiting()
            self._is_running = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None

    def end(self, ended: Ended) -> None:
        with self._lock:
            self._ended.append(ended)

    def give_back(self, claim: Claim) -> None:
        """A job that was not run to an end, and goes back without a count."""
        with self._lock:
            self._released.append(claim)

    def take(self) -> tuple[list[Ended], list[Claim]]:
        """What has ended and what goes back, to be written by the caller."""
        with self._lock:
            taken = (self._ended, self._released)
            self._ended, self._released = [], []
            return taken

    def release_waiting(self) -> None:
        """Give back all that has not started."""
        with self._lock:
            self._release_waiting()

    def _release_waiting(self) -> None:
        self._released += [Claim(job.id, job.fence) for job in self._waiting]
        self._waiting.clear()

    @property
    def has_ended(self) -> bool:
        """Whether there is something to be written."""
        with self._lock:
            return bool(self._ended or self._released)

    @property
    def unwritten(self) -> set[Claim]:
        """The claims of what has ended and is yet to be taken."""
        with self._lock:
            return {each.claim for each in self._ended} | set(self._released)

    @property
    def age(self) -> float:
        """Seconds since the batch was claimed; 0 if nothing of it runs."""
        return monotonic() - self._since if self._is_running else 0.0

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
    """The main thread starts and ends jobs; the attendant claims ahead, and takes away what has waited too long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[ClaimedJob] = deque()
        self._ahead: Sequence[ClaimedJob] = ()
        self._running: ClaimedJob | None = None
        self._ended: list[Ended] = []
        self._released: list[Claim] = []
        self._since = self._ahead_since = 0.0

    def fill(self, jobs: Sequence[ClaimedJob]) -> None:
        with self._lock:
            self._waiting.extend(jobs)
            self._since = monotonic()

    def fill_ahead(self, jobs: Sequence[ClaimedJob]) -> None:
        """With what is to be started after those that are there."""
        with self._lock:
            self._ahead = jobs
            self._ahead_since = monotonic()

    def turn(self) -> Sequence[ClaimedJob]:
        """Of those that were there all are started: go on to those that were claimed ahead."""
        with self._lock:
            jobs, self._ahead = self._ahead, ()
            self._waiting.extend(jobs)
            self._since = self._ahead_since
            return jobs

    def start_next(self) -> ClaimedJob | None:
        """The next job to run; None if none is left, be it that the attendant took the rest.

        A batch that is over a second old goes back: its attendant should have done that, and could not.
        """
        with self._lock:
            if monotonic() - self._since > _LONGEST_WAIT_SECONDS:
                self._release_waiting()
            self._running = self._waiting.popleft() if self._waiting else None
            return self._running

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
        self._released += [Claim(job.id, job.fence) for job in (*self._waiting, *self._ahead)]
        self._waiting.clear()
        self._ahead = ()

    @property
    def has_ended(self) -> bool:
        """Whether there is something to be written."""
        with self._lock:
            return bool(self._ended or self._released)

    @property
    def claims(self) -> set[Claim]:
        """Of all that is here: waiting, running outside of the loop of coroutines, ended and yet to be taken."""
        with self._lock:
            unstarted = [*self._waiting, *self._ahead]
            begun = [] if self._running is None else [self._running]
            known = {Claim(job.id, job.fence) for job in unstarted + begun}
            return known | {each.claim for each in self._ended} | set(self._released)

    @property
    def unstarted(self) -> int:
        """How many have not been started."""
        with self._lock:
            return len(self._waiting) + len(self._ahead)

    @property
    def age(self) -> float:
        """Seconds since those were claimed of which one runs; 0 if none does."""
        return monotonic() - self._since if self._running is not None else 0.0

    @property
    def wait(self) -> float:
        """Seconds since those were claimed that have not been started, at most; 0 if there are none."""
        with self._lock:
            if self._waiting:
                return monotonic() - self._since
            return monotonic() - self._ahead_since if self._ahead else 0.0

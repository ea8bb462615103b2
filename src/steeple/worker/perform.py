"""Runs the attempt of a sync task, in the slot's main thread."""

from steeple.domain.outcome import Outcome
from steeple.worker.attempt import Attempt, encode_result
from steeple.worker.interrupts import Interrupts
from steeple.worker.reporter import SlotReporter


class Performer:
    """Runs one task after the other; ``limit`` is the most bytes of a result."""

    def __init__(self, interrupts: Interrupts, reporter: SlotReporter, limit: int) -> None:
        self._interrupts = interrupts
        self._reporter = reporter
        self._limit = limit

    def perform(self, attempt: Attempt) -> Outcome | None:
        """How the attempt ended; None if the worker's shutdown cut it short, and it does not count.

        An exception of our own leaves the attempt at its place: the slot ends, and the job counts a crash.
        """
        outcome = self._call(attempt)
        attempt.place.end()
        return outcome

    def _call(self, attempt: Attempt) -> Outcome | None:
        try:
            arguments = attempt.arguments(self._reporter)
        except Exception as error:  # noqa: BLE001 - hints may bring validators of the user's own
            return attempt.outcome_of(error)
        try:
            try:
                self._interrupts.arm(attempt)
                value = attempt.task.function(**arguments)
            finally:
                self._interrupts.disarm()
        except BaseException as error:  # noqa: BLE001 - SystemExit and the like end the attempt, not the slot
            return attempt.outcome_of(error)
        return encode_result(value, self._limit)

"""The soft signal: raises ``Cancelled`` or ``TimedOut`` inside a sync task's own code, and nowhere else.

While our code runs (decoding, committing, reporting) nothing is armed and the signal does nothing; a task is told once.
"""

import signal
from collections.abc import Callable
from types import FrameType

from steeple.errors import Cancelled, TimedOut
from steeple.worker.attempt import Attempt
from steeple.worker.board import Stop

SOFT_SIGNAL = signal.SIGUSR2


class Interrupts:
    """Belongs to the slot's main thread, where Python runs signal handlers.

    ``pass_on`` is called at every signal, for those that run elsewhere; it may be called anywhere in our code.
    """

    def __init__(self, pass_on: Callable[[], None]) -> None:
        self._pass_on = pass_on
        self._armed: Attempt | None = None

    def install(self) -> None:
        signal.signal(SOFT_SIGNAL, self._on_signal)

    def arm(self, attempt: Attempt) -> None:
        """From here on the task's code runs. A stop that was asked for before takes effect at once."""
        self._armed = attempt
        self._raise_if_asked()

    def disarm(self) -> None:
        self._armed = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._pass_on()
        self._raise_if_asked()

    def _raise_if_asked(self) -> None:
        stop = None if self._armed is None else self._armed.asked_to_stop()
        if stop is not None:
            self._armed = None
            raise TimedOut if stop is Stop.TIMEOUT else Cancelled

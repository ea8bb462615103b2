"""Tells a machine that stood still from a product that did: nothing is promised about times while nobody runs."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EVERY_SECONDS = 0.1
_STILL_SECONDS = 0.5


class Pulse(threading.Thread):
    """Wants to run ten times a second; ``note`` is told of times in which it could not."""

    def __init__(self, note: Callable[[datetime, datetime], None]) -> None:
        super().__init__(name="pulse", daemon=True)
        self._note = note
        self._is_over = threading.Event()

    def run(self) -> None:
        last = time.monotonic()
        while not self._is_over.wait(_EVERY_SECONDS):
            took, last = time.monotonic() - last, time.monotonic()
            if took > _EVERY_SECONDS + _STILL_SECONDS:
                now = datetime.now(UTC)
                self._note(now - timedelta(seconds=took), now)

    def stop(self) -> None:
        self._is_over.set()
        self.join()

"""SIGINT, SIGTERM and SIGHUP as something to wait for, instead of an exception in the middle of things."""

import os
import select
import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Counts the requests to stop. Use as a context manager, in the main thread.

    A pipe wakes the waiter: a handler must not touch a lock that the code it interrupts may hold.
    """

    def __init__(self) -> None:
        self.count = 0

    @property
    def is_requested(self) -> bool:
        return self.count > 0

    @property
    def is_urgent(self) -> bool:
        """Asked for a second time."""
        return self.count > 1

    def wait(self, seconds: float) -> None:
        """Wait that long, or until the next signal."""
        readable, _, _ = select.select([self._reader], [], [], seconds)
        if readable:
            os.read(self._reader, 64)

    def __enter__(self) -> "StopSignals":
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._former = {each: signal.signal(each, self._note) for each in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._former.items():
            signal.signal(each, handler)
        os.close(self._reader)
        os.close(self._writer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        os.write(self._writer, b".")

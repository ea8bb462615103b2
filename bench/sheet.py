"""What every task of every contestant writes down: when it began, when it ended, how often it ran.

A file in memory, shared by all processes of a run, with one place for each job. A task writes two numbers to it, which
costs well under a microsecond, so that all contestants are watched in one and the same way. Standard library only: it
is imported where nothing else of this repository is installed.
"""

import mmap
import time
from pathlib import Path

_PLACE = 8 + 8 + 1
"""Bytes for each job: the time it began, the time it ended, how often it ended."""

_POLL_SECONDS = 0.01


class Sheet:
    """Times are seconds of ``time.monotonic``, which all processes of a machine share; 0.0: not yet."""

    def __init__(self, path: Path | str) -> None:
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self.places = len(self._memory) // _PLACE
        view = memoryview(self._memory)
        self.began = view[: 8 * self.places].cast("d")
        self.ended = view[8 * self.places : 16 * self.places].cast("d")
        self.runs = view[16 * self.places :]

    @classmethod
    def create(cls, path: Path, places: int) -> "Sheet":
        path.write_bytes(bytes(places * _PLACE))
        return cls(path)

    def begin(self, number: int) -> None:
        self.began[number] = time.monotonic()

    def end(self, number: int) -> None:
        self.ended[number] = time.monotonic()
        self.runs[number] += 1

    def missing(self, jobs: int) -> int:
        """How many of the first ``jobs`` have not ended yet."""
        return self._memory[16 * self.places : 16 * self.places + jobs].count(b"\0")

    def wait(self, jobs: int, patience: float) -> bool:
        """Wait until the first ``jobs`` have ended, for so many seconds at most. True when they have."""
        deadline = time.monotonic() + patience
        while self.missing(jobs):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def wait_for_begin(self, number: int, patience: float) -> bool:
        """Wait until this job has begun."""
        deadline = time.monotonic() + patience
        while not self.began[number]:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS / 10)
        return True

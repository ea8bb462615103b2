"""What a worker cannot work without, and since when it has had to: a heartbeat alone does not make a worker."""

from dataclasses import dataclass
from enum import StrEnum
from time import monotonic


class Lifeline(StrEnum):
    BROKER = "its broker"
    DATABASE = "the database"
    CLAIMS = "the jobs: the database answers heartbeats and fails claims"


@dataclass(frozen=True)
class Cut:
    line: Lifeline
    seconds: float

    def __str__(self) -> str:
        return f"cut off for {self.seconds:.0f} s from {self.line}"


class Lifelines:
    """Shared by the main thread, which hears of the broker, and the warden, which hears of the database."""

    def __init__(self) -> None:
        self._cut_at: dict[Lifeline, float] = {}

    def note(self, line: Lifeline, *, holds: bool) -> None:
        if holds:
            self._cut_at.pop(line, None)
        else:
            self._cut_at.setdefault(line, monotonic())

    def longest_cut(self) -> Cut | None:
        """None while all hold."""
        cuts = sorted((at, line) for line, at in list(self._cut_at.items()))
        return Cut(cuts[0][1], monotonic() - cuts[0][0]) if cuts else None

"""The broker as a model: wake-ups that wait in lanes, to be delivered, dropped, repeated, in any order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from steeple.domain.priority import Lane
from steeple.domain.waking import Wakes


@dataclass
class Post:
    """Publishes as ``broker.wake.Publisher`` does: no more to a lane than it has slots. ``told`` notes each."""

    told: Callable[[str], None]

    def __post_init__(self) -> None:
        self.waiting: list[Lane] = []

    def publish(self, wakes: Mapping[Lane, Wakes]) -> int:
        sent = 0
        for lane, wanted in wakes.items():
            missing = wanted.missing(self.waiting.count(lane))
            self.waiting += [lane] * missing
            sent += missing
        if sent:
            self.told(f"sends {sent} wake-ups")
        return sent

    def close(self) -> None:
        """Nothing is open."""

"""Which wake-ups are worth sending: a few per lane, and none to a lane that no live worker waits on. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from steeple.domain.priority import Binding, Lane


@dataclass(frozen=True)
class Crew:
    """What a live worker brings: its binding, and how many jobs it runs at once."""

    binding: Binding
    slots: int


@dataclass(frozen=True)
class Wakes:
    """Wake-ups wanted for a lane: ``jobs`` are due there, and its workers have ``slots`` in all.

    No more than ``slots`` may ever wait in the broker: those that are there already count.
    """

    jobs: int
    slots: int

    def missing(self, waiting: int) -> int:
        """How many to send when ``waiting`` are in the broker."""
        return max(0, min(self.jobs, self.slots - waiting))


def plan_wakes(due: Mapping[Lane, int], fleet: Iterable[Crew]) -> dict[Lane, Wakes]:
    """The wake-ups for ``due`` jobs per lane, by the lanes on which the workers of ``fleet`` wait for them."""
    crews = tuple(fleet)
    slots: dict[Lane, int] = {}
    for crew in crews:
        for lane in crew.binding.lanes():
            slots[lane] = slots.get(lane, 0) + crew.slots
    jobs: dict[Lane, int] = {}
    for lane, count in due.items():
        for target in {crew.binding.lane_for(lane) for crew in crews if crew.binding.covers(lane)}:
            jobs[target] = jobs.get(target, 0) + count
    return {lane: Wakes(count, slots[lane]) for lane, count in jobs.items()}

"""What a number of games have covered: which moves were made, where actors stopped, which transitions came about."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from history import Transition

from steeple.domain.states import TRANSITIONS, Cause, State

Way = tuple[State | None, State, Cause]

WAYS: tuple[Way, ...] = tuple((each.source, each.target, each.cause) for each in TRANSITIONS)
"""Every row of the table of states."""


@dataclass
class Seen:
    games: int = 0
    abandoned: int = 0
    """Seeds that were left because a game did not go the same way again."""

    broken: str | None = None
    """What the last game that broke the promise has to tell."""

    found_at: int | None = None
    """How many games it took to break it."""

    moves: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    ways: Counter[Way] = field(default_factory=Counter)

    def note(self, stops: Counter[str], transitions: Iterable[Transition]) -> None:
        """A game is over."""
        self.games += 1
        self.stops += stops
        self.ways.update(way for each in transitions if (way := _way(each)) is not None)

    def note_broken(self, told: str) -> None:
        self.broken = told
        self.found_at = self.found_at or self.games

    @property
    def missing(self) -> list[str]:
        """The rows of the table of states that no game has been through."""
        return [_named(way) for way in WAYS if not self.ways[way]]

    def lines(self) -> Iterator[str]:
        """All of it, for people."""
        yield f"{self.games} games, {self.abandoned} times with another seed"
        yield f"{len(self.moves)} kinds of moves: {_counted(self.moves)}"
        yield f"{sum(self.stops.values())} stops at {len(self.stops)} places: {_counted(self.stops)}"
        yield from (f"{_named(way)}: {self.ways[way]} times" for way in WAYS)


def _way(line: Transition) -> Way | None:
    if line.after is None or line.cause is None or (line.before is not None and line.before.state is line.after.state):
        return None
    return (None if line.before is None else line.before.state, line.after.state, line.cause)


def _named(way: Way) -> str:
    source, target, cause = way
    return f"{source or 'nothing'} to {target} by {cause}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())

"""The moves that chance has, each with how often it should be made and when it can be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis.strategies import SearchStrategy

Make = Callable[..., None]


@dataclass(frozen=True)
class Move:
    """``weight``: how often, beside others. ``drawn``: what it is made with, by chance."""

    name: str
    make: Make
    weight: int
    is_possible: Callable[[Any], object]
    drawn: Mapping[str, SearchStrategy[Any]]

    def __repr__(self) -> str:
        return self.name


_MOVES: list[Move] = []


def move(weight: int, is_possible: Callable[[Any], object], **drawn: SearchStrategy[Any]) -> Callable[[Make], Make]:
    """A method of the machine is a move."""

    def add(make: Make) -> Make:
        _MOVES.append(Move(make.__name__, make, weight, is_possible, drawn))
        return make

    return add


def possible(machine: object) -> list[Move]:
    """Those that can be made now, each as often as its weight says."""
    return [each for each in _MOVES if each.is_possible(machine) for _ in range(each.weight)]

"""What a row of the table is: who takes part in it, how one of them is measured once, and which figures come of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.arena import Arena


@dataclass(frozen=True)
class Figure:
    """One number of a measurement. ``is_log``: its plot needs a logarithmic scale."""

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"] = "higher"
    is_log: bool = False


@dataclass(frozen=True)
class Conditions:
    """``seconds``: how long one measurement may take, roughly. ``rates``: jobs/s of no-op jobs, by contestant."""

    arena: Arena
    seconds: float
    rates: dict[str, float]


Measure = Callable[[Conditions, str], Mapping[str, float]]
"""Measures the named contestant once: a number for each figure."""


@dataclass(frozen=True)
class Row:
    """``contestants`` are names that ``measure`` understands; those in the roster are left out if not installed.

    ``first`` is what the others are compared with; ``reference`` a contestant of this row in whose terms runs of
    different days are compared; none: the values as they are. ``titles`` name contestants that are not in the roster.
    ``is_quick``: also a row of the quick run, with the contestants ``quick``. ``on_request``: only when asked for.
    """

    name: str
    title: str
    contestants: Sequence[str]
    figures: Sequence[Figure]
    measure: Measure
    note: str = ""
    first: str = "steeple"
    titles: Mapping[str, str] | None = None
    quick: Sequence[str] = ()
    reference: str = ""
    on_request: bool = False


def title_of(row: Row, name: str, described: Mapping[str, Mapping[str, Any]]) -> str:
    """As readers know this contestant of this row."""
    if row.titles is not None and name in row.titles:
        return row.titles[name]
    return str(described.get(name, {}).get("title", name))

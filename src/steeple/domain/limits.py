"""Limits by key: how many jobs that name a key may run at once, and how many may start in a time. Pure arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True)
class Rate:
    """``count`` starts per ``period`` seconds, as a token bucket: ``burst`` may start at once after a quiet time."""

    count: int
    period: float
    burst: int | None = None

    @property
    def capacity(self) -> float:
        return float(self.burst or self.count)

    @property
    def per_second(self) -> float:
        return self.count / self.period

    def tokens(self, left: float, seconds: float) -> float:
        """What is in the bucket so many seconds after ``left`` were."""
        return min(self.capacity, left + max(0.0, seconds) * self.per_second)

    def seconds_until(self, wanted: float, tokens: float) -> float:
        """How long it takes until ``wanted`` are in the bucket; 0 if they are."""
        return max(0.0, wanted - tokens) / self.per_second


@dataclass(frozen=True)
class Limit:
    """``key`` may have ``*`` for any characters: then each key that fits has a limit of its own."""

    key: str
    max_running: int | None = None
    rate: Rate | None = None

    @property
    def is_pattern(self) -> bool:
        return "*" in self.key


class Limits:
    """All that are set. The limit of a key is the one set for it, else that of the pattern with the most letters."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        found = list(limits)
        self._exact = {limit.key: limit for limit in found if not limit.is_pattern}
        patterns = sorted((limit for limit in found if limit.is_pattern), key=_specificity, reverse=True)
        self._patterns = [(limit.key.split("*"), limit) for limit in patterns]

    def of(self, key: str) -> Limit | None:
        """None if nothing limits the key."""
        if key in self._exact:
            return self._exact[key]
        return next((limit for parts, limit in self._patterns if _fits(parts, key)), None)


def _specificity(limit: Limit) -> tuple[int, str]:
    return len(limit.key.replace("*", "")), limit.key


def _fits(parts: Sequence[str], key: str) -> bool:
    """Whether what stands between the stars is in the key, in that order: once through, whatever they are."""
    first, *middle, last = parts
    if len(key) < len(first) + len(last) or not key.startswith(first) or not key.endswith(last):
        return False
    place, end = len(first), len(key) - len(last)
    for part in middle:
        found = key.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


class Block(StrEnum):
    """Why a limit lets no job start."""

    RUNNING = "limit"
    RATE = "rate"


@dataclass
class Use:
    """What of a limit is taken: jobs that run, and the tokens that are left of its rate."""

    limit: Limit
    running: int = 0
    tokens: float = 0.0

    @property
    def blocks(self) -> Block | None:
        """What keeps another job from starting."""
        if self.limit.max_running is not None and self.running >= self.limit.max_running:
            return Block.RUNNING
        if self.limit.rate is not None and self.tokens < 1.0:
            return Block.RATE
        return None

    @property
    def room(self) -> float:
        """How many more may start now."""
        by_running = float("inf") if self.limit.max_running is None else self.limit.max_running - self.running
        by_rate = float("inf") if self.limit.rate is None else float(int(self.tokens))
        return max(0.0, min(by_running, by_rate))

    def take(self) -> None:
        self.running += 1
        self.tokens -= 1.0


class Candidate(Protocol):
    """A job that is due."""

    @property
    def id(self) -> UUID: ...

    @property
    def limits(self) -> Sequence[str] | None: ...


@dataclass
class Admission:
    """``parked``: jobs that wait for a limit, and what holds them."""

    taken: list[UUID] = field(default_factory=list)
    parked: dict[UUID, str] = field(default_factory=dict)


def admit(candidates: Iterable[Candidate], uses: Mapping[str, Use], most: int) -> Admission:
    """Let candidates start in their order, up to ``most``; of ``uses`` is taken what they take.

    One that a limit keeps from starting holds nothing, also not of its other limits.
    """
    admission = Admission()
    for candidate in candidates:
        if len(admission.taken) == most:
            break
        its = {key: uses[key] for key in candidate.limits or () if key in uses}
        held_by = next((f"{use.blocks}:{key}" for key, use in its.items() if use.blocks), None)
        if held_by is not None:
            admission.parked[candidate.id] = held_by
            continue
        for use in its.values():
            use.take()
        admission.taken.append(candidate.id)
    return admission

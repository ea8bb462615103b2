"""Each deliberate fault, left to chance: how many games it takes the simulation to come upon it.

The run shows a table at its end: the median, and in brackets the number for each seed, or - if it was not found.
"""

import os
from collections.abc import Callable
from statistics import median

import pytest
from chance import play
from deliberate_faults import MUTATIONS, Mutation
from seen import Seen
from worlds import Worlds

_MOST_GAMES = int(os.environ.get("GAMES", "200"))
_SEEDS = range(1, 1 + int(os.environ.get("SEEDS", "3")))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_by_chance(worlds: Worlds, mutation: Mutation, record_property: Callable[[str, object], None]) -> None:
    """No fault may stay hidden from every seed."""
    hunts = [_hunt(worlds, mutation, seed) for seed in _SEEDS]
    games = [games for games, _ in hunts]
    told = next((told for _, told in hunts if told), "")
    shown = ", ".join(f"{each:3}" if each <= _MOST_GAMES else "  -" for each in games)
    record_property(f"by chance: {mutation.name:48}", f"{median(games):4g} games ({shown})  {told[:90]}")
    assert min(games) <= _MOST_GAMES, f"not found in {len(_SEEDS)} times {_MOST_GAMES} games"


def _hunt(worlds: Worlds, mutation: Mutation, seed: int) -> tuple[int, str]:
    """How many games it took, one more than there are if it was not found; and what gave it away."""
    seen = Seen()
    try:
        with mutation.apply():
            play(worlds, _MOST_GAMES, seen, seed=seed * 1_000_000, is_shrinking=False)
    except AssertionError as error:
        told = (line for line in str(error).splitlines() if ": " in line)
        return seen.found_at or seen.games, next(told, repr(error))
    return _MOST_GAMES + 1, ""

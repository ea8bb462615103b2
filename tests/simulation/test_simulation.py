"""The promise holds whoever moves when, whatever breaks: a short run, always the same; ``make soak`` is for long."""

from collections.abc import Callable

import pytest
from chance import must_hold
from seen import WAYS, Seen
from worlds import Worlds

_GAMES = 20
_MOST_GAMES = 100
"""Until all is seen that should be."""


@pytest.mark.timeout(900)
def test_the_promise_holds_in_every_order_of_steps(
    worlds: Worlds, record_property: Callable[[str, object], None]
) -> None:
    """And the games come through every row of the table of states."""
    seen = Seen()
    must_hold(worlds, _GAMES, seen)
    while seen.missing and seen.games < _MOST_GAMES:
        must_hold(worlds, _GAMES, seen, seed=seen.games)
    stops = f"{sum(seen.stops.values())} stops at {len(seen.stops)} places"
    covered = f"{seen.games} games, {stops}, {len(WAYS) - len(seen.missing)} of {len(WAYS)} transitions"
    record_property("simulation", covered)
    assert seen.missing == []

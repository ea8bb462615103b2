"""Plays a scenario and says what gave a fault away."""

from collections.abc import Callable

from healing import heal
from verdict import plainly, verdict
from world import World
from worlds import Worlds


def catches(worlds: Worlds, scenario: Callable[[World], None]) -> str | None:
    """What the scenario found; None if all was well."""
    with worlds() as world:
        try:
            scenario(world)
            heal(world)
        except AssertionError as error:
            return str(error).splitlines()[0]
        found = verdict(world)
    return None if not found else plainly(str(found[0])).splitlines()[0]

"""Each deliberate fault, left to chance: how many games it takes the simulation to come upon it. Prints a table."""

import os

import pytest
from chance import play
from deliberate_faults import MUTATIONS, Mutation
from machine import Promise
from worlds import Worlds

_EXAMPLES = int(os.environ.get("GAMES", "200"))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_by_chance(worlds: Worlds, mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    games = 0
    begin = Promise.__init__

    def counting(self: Promise) -> None:
        nonlocal games
        games += 1
        begin(self)

    monkeypatch.setattr(Promise, "__init__", counting)
    try:
        with mutation.apply():
            play(worlds, _EXAMPLES, is_shrinking=False)
    except Exception as error:  # noqa: BLE001 - whatever gave it away
        told = next((line for line in str(error).splitlines() if ": " in line), repr(error))
        print(f"\n{mutation.name:45} game {games:4}  {told[:90]}", end="")
    else:
        print(f"\n{mutation.name:45} not in {games} games", end="")

"""The simulation for as long as asked: ``make soak SOAK_MINUTES=60``, once more with the same ``SOAK_SEED``."""

import os
import random
from time import monotonic

from chance import play
from worlds import Worlds

_EXAMPLES = 100


def test_soak(worlds: Worlds) -> None:
    until = monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    seed = int(os.environ.get("SOAK_SEED") or random.randrange(1_000_000_000))
    games = 0
    while games == 0 or monotonic() < until:
        print(f"seed {seed}: {games} games held so far", flush=True)
        play(worlds, _EXAMPLES, seed=seed)
        seed, games = seed + 1, games + _EXAMPLES
    print(f"{games} games held")

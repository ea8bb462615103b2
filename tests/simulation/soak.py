"""The simulation for as long as asked: ``make soak SOAK_MINUTES=60``, once more with the same ``SOAK_SEED``."""

import os
import random
from time import monotonic

from chance import must_hold
from seen import Seen
from worlds import Worlds

from steeple.embedded.postgres import EmbeddedPostgres

_EXAMPLES = 50


def test_soak(worlds: Worlds, postgres: EmbeddedPostgres) -> None:
    """Now and then the server is killed in earnest, too."""
    began = monotonic()
    until = began + 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    seed = int(os.environ.get("SOAK_SEED") or random.randrange(1_000_000_000))
    seen = Seen()
    while seen.games == 0 or monotonic() < until:
        print(f"seed {seed}: {seen.games} games held so far", flush=True)
        must_hold(worlds, _EXAMPLES, seen, seed=seed, server=postgres)
        seed += 1
    print(f"{seen.games / (monotonic() - began):.1f} games per second", *seen.lines(), sep="\n")

"""Counts what has finished, for metrics and history."""

from steeple.store import rollup
from steeple.store.engine import Engine, in_transaction

_PAUSE_SECONDS = 2.0


def roll_up(engine: Engine, single: Engine) -> float:
    """A slice at a time while it is behind. ``single`` commits each statement by itself."""
    if not in_transaction(single, rollup.has_uncounted):
        return _PAUSE_SECONDS
    done = in_transaction(engine, rollup.roll_up)
    return 0.0 if done.is_behind else _PAUSE_SECONDS

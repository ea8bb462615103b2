"""Lets jobs try again that a limit holds back: those of a rate as its tokens come.

Those of a number of running jobs are let go when one of these ends, by whatever ends it; here they are looked at now
and then, lest a mistake hold any for ever.
"""

from functools import partial
from time import monotonic

from steeple.domain.limits import Block
from steeple.store.engine import Engine, in_transaction
from steeple.store.parking import Unparked, holders, unpark

_PAUSE_SECONDS = 0.25
_IDLE_SECONDS = 1.0
"""Between two looks while no rate holds any job back: an idle scheduler should cost little."""

_SOONEST_SECONDS = 0.05
_KEYS_AT_ONCE = 200
_BETWEEN_ROUNDS_SECONDS = 10.0
"""Of looking at the limits of running jobs."""


class Unpark:
    """A tick."""

    def __init__(self, engine: Engine, single: Engine) -> None:
        self._engine = engine
        self._single = single
        self._round_at = monotonic() + _BETWEEN_ROUNDS_SECONDS
        self._after: dict[Block, str] = {}

    def __call__(self) -> float:
        """Let go what may; returns when the next token comes."""
        found = self._let_go(Block.RATE)
        if monotonic() >= self._round_at:
            self._let_go(Block.RUNNING)
            is_through = not self._after[Block.RUNNING]
            self._round_at = monotonic() + (_BETWEEN_ROUNDS_SECONDS if is_through else 0.0)
        if not found:
            return _IDLE_SECONDS
        pauses = [each.next_in for each in found if each.next_in is not None]
        return min(_PAUSE_SECONDS, max(_SOONEST_SECONDS, min(pauses, default=_PAUSE_SECONDS)))

    def close(self) -> None:
        """Nothing is held between rounds."""

    def _let_go(self, block: Block) -> list[Unparked]:
        """Of some keys; the next time of those that follow, and so on."""
        after = self._after.get(block, "")
        keys = in_transaction(self._single, partial(holders, block=block, after=after, limit=_KEYS_AT_ONCE))
        self._after[block] = keys[-1] if len(keys) == _KEYS_AT_ONCE else ""
        return [in_transaction(self._engine, partial(unpark, block=block, key=key)) for key in keys]

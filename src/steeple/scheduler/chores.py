"""What there is rarely anything to do about, behind a single look each second: an idle scheduler should cost little."""

from steeple.scheduler.confirm import confirm_children
from steeple.scheduler.expire import expire
from steeple.scheduler.operate import Operate
from steeple.store.chores import look
from steeple.store.engine import Engine, in_transaction

_PAUSE_SECONDS = 1.0


class DoChores:
    """A tick. ``single`` commits each statement by itself."""

    def __init__(self, engine: Engine, single: Engine) -> None:
        self._single = single
        self._operate = Operate(engine, single)

    def __call__(self) -> float:
        """A round of each that has something to do; returns when the next should be."""
        found = in_transaction(self._single, look)
        pauses = [_PAUSE_SECONDS]
        if found.has_expired:
            pauses.append(expire(self._single))
        if found.has_unconfirmed:
            pauses.append(confirm_children(self._single))
        if found.has_operations:
            pauses.append(self._operate())
        return min(pauses)

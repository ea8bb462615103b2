"""Has jobs wait for their parents whose submitter did not come to it: it died after the commit, or they joined a
transaction of whose end nobody tells us. The next ``wake_due`` wakes the lanes of those that need not wait.
"""

from steeple.store.children import CONFIRMED_AT_ONCE, confirm, unconfirmed
from steeple.store.engine import Engine, in_transaction

_PAUSE_SECONDS = 1.0


def confirm_children(single: Engine) -> float:
    """``single`` commits each statement by itself."""
    found = in_transaction(single, unconfirmed)
    if found:
        in_transaction(single, lambda connection: confirm(connection, found))
    return 0.0 if len(found) == CONFIRMED_AT_ONCE else _PAUSE_SECONDS

"""Whether there is something to do for a scheduler: one look at all that is rare."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from steeple.store.standing import ask

# Jobs that are past their time to start, jobs that nobody has confirmed, operations whose turn it is: by an index each.
_LOOK = text("""
SELECT EXISTS (SELECT FROM jobs WHERE state = 'PENDING' AND expires_at <= now()) AS has_expired,
       EXISTS (SELECT FROM jobs WHERE state = 'PENDING' AND held_by = 'unconfirmed') AS has_unconfirmed,
       EXISTS (SELECT FROM operations WHERE state IN ('PENDING', 'RUNNING') AND next_at <= now()) AS has_operations
""")


@dataclass(frozen=True)
class Chores:
    has_expired: bool
    has_unconfirmed: bool
    has_operations: bool


def look(connection: Connection) -> Chores:
    """What there is to do now."""
    (row,) = ask(connection, _LOOK, {})
    return Chores(row.has_expired, row.has_unconfirmed, row.has_operations)

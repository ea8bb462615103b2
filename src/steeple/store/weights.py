"""The weights of fair keys."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

# Sets a weight, in place of what was set for the key.
_SET = text("""
INSERT INTO weights (fair_key, weight) VALUES (:fair_key, :weight)
ON CONFLICT (fair_key) DO UPDATE SET weight = excluded.weight
""")

# Takes a weight away: the key has that of all others again.
_DELETE = text("DELETE FROM weights WHERE fair_key = :fair_key RETURNING fair_key")

# The weight that was set for a key.
_OF = text("SELECT weight FROM weights WHERE fair_key = :fair_key")

# A page of what is set.
_PAGE = text("SELECT fair_key, weight FROM weights WHERE fair_key > :after ORDER BY fair_key LIMIT :limit")

# Forgets the shares of keys that are not ahead of their lane's clock: they are where a new key begins.
_FORGET = text("""
DELETE FROM shares USING share_clocks
WHERE (share_clocks.queue, share_clocks.priority) = (shares.queue, shares.priority) AND shares.virtual <= clock
""")


@dataclass(frozen=True)
class Weight:
    fair_key: str
    weight: float


def set_weight(connection: Connection, weight: Weight) -> None:
    connection.execute(_SET, {"fair_key": weight.fair_key, "weight": weight.weight})


def delete_weight(connection: Connection, fair_key: str) -> bool:
    """False if none was set for the key."""
    return connection.execute(_DELETE, {"fair_key": fair_key}).first() is not None


def read_weight(connection: Connection, fair_key: str) -> Weight | None:
    """None if none was set: it weighs 1."""
    weight = connection.execute(_OF, {"fair_key": fair_key}).scalar()
    return None if weight is None else Weight(fair_key, weight)


def list_weights(connection: Connection, after: str, limit: int) -> list[Weight]:
    """Those after a key, in their order."""
    rows = connection.execute(_PAGE, {"after": after, "limit": limit})
    return [Weight(row.fair_key, row.weight) for row in rows]


def forget_shares(connection: Connection) -> int:
    """Forget what says nothing any more of who is owed what."""
    return connection.execute(_FORGET).rowcount

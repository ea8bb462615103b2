"""Totals of rare events, for metrics."""

from collections.abc import Mapping

from sqlalchemy import Connection, text

from steeple.domain.statistics import CounterName

__all__ = ["CounterName", "add", "totals"]

# Adds to counters in the order of their names, so that two who do it cannot lock each other out.
_ADD = text("""
INSERT INTO counters (name, value)
SELECT * FROM unnest(CAST(:names AS text[]), CAST(:values AS bigint[])) AS added (name, value) ORDER BY name
ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value
""")

# Every counter.
_ALL = text("SELECT name, value FROM counters")


def add(connection: Connection, counts: Mapping[CounterName, int]) -> None:
    """Add to the totals; nothing is written for zeros."""
    found = {name: count for name, count in counts.items() if count}
    if found:
        connection.execute(_ADD, {"names": [name.value for name in found], "values": list(found.values())})


def totals(connection: Connection) -> dict[CounterName, int]:
    """The total of every counter."""
    found = {row.name: row.value for row in connection.execute(_ALL)}
    return {name: found.get(name.value, 0) for name in CounterName}

"""A connection beside those of the actors, which outlives a restart of the server."""

from collections.abc import Sequence
from typing import Any

import psycopg

from steeple.store.tables import Table


class Control:
    """Each statement is a transaction by itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.connection: psycopg.Connection[Any] = self._connect()

    def execute(self, query: str, values: Sequence[object] | dict[str, object] = ()) -> "psycopg.Cursor[Any]":
        return self.connection.execute(query.encode(), values or None)

    def empty(self) -> None:
        """Row by row, which is quicker where there are few."""
        tables = [table.name for table in reversed(Table.metadata.sorted_tables) if table.name != "watermarks"]
        for name in (*tables, "recorded_jobs", "recorded_workers", "simulated.changes"):
            self.execute(f"DELETE FROM {name}")
        self.execute("UPDATE watermarks SET at = 'epoch'")

    def connect_anew(self) -> None:
        self.close()
        self.connection = self._connect()

    def close(self) -> None:
        self.connection.close()

    def _connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(self._url, autocommit=True)

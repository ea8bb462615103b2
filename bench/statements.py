"""Counts the statements that a database is sent, by the server's log: nothing has to be loaded into the server."""

import re

from bench.arena import Arena

_LOG = "SET log_statement = 'all'"
_STATEMENT = re.compile(rb"\] LOG:  (?:statement|execute [^:]+): ")


class StatementLog:
    """From its making on, every session that begins in the database has what it is sent written to the log.

    BEGIN and COMMIT count too, where they are sent by themselves.
    """

    def __init__(self, arena: Arena) -> None:
        self._path = arena.folder / "postgres.log"
        with arena.connect() as connection:
            connection.execute(f"ALTER DATABASE {connection.info.dbname} {_LOG}")
        self._seen = 0

    def mark(self) -> None:
        """Count from now on."""
        self._seen = self._path.stat().st_size

    def count(self) -> int:
        """Statements since the mark."""
        with self._path.open("rb") as log:
            log.seek(self._seen)
            return statements_in(log.read())


def statements_in(log: bytes) -> int:
    return len(_STATEMENT.findall(log))

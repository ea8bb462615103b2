"""A connection that is kept for the same few questions all day long, and a short way to ask them.

An idle process is woken to ask, with nothing of it in the processor's caches any more: then what stands between it and
the driver costs three times what the question itself does.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from psycopg import Error
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, Engine, TextClause
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.exc import DBAPIError

from steeple.store.engine import is_repeatable, moment

T = TypeVar("T")


class StandingConnection:
    """Each statement on it commits by itself. For one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connection: Connection | None = None

    def run(self, work: Callable[[Connection], T], *, tries: int = 3) -> T:
        """As ``in_transaction``, over a new connection if the one at hand was lost."""
        for left in range(tries - 1, -1, -1):
            try:
                if self._connection is None:
                    self._connection = self._engine.connect()
                return work(self._connection)
            except DBAPIError as error:
                self.close()
                if not left or not is_repeatable(error):
                    raise
            time.sleep(moment())
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Give the connection back; another one is taken when it is needed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def ask(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> Sequence[Any]:
    """The rows of a statement that only reads, as named tuples. Not for asyncio.

    What fails is asked again the long way, so that faults are those of SQLAlchemy.
    """
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor(row_factory=namedtuple_row) as cursor:
            rows: Sequence[Any] = cursor.execute(_plain(statement), values).fetchall()
            return rows
    except Error:
        return connection.execute(statement, values).all()


@cache
def _plain(statement: TextClause) -> str:
    """As psycopg takes it."""
    return str(statement.compile(dialect=psycopg.dialect()))  # type: ignore[no-untyped-call]

"""Connections that do not wait for ever: a server that hangs, or a network that swallows its answer, counts as lost.

Time-outs of the server do not help where the server does not answer, and those of TCP not where something between
(a proxy, a pooler) keeps the connection up.
"""

from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

LONGEST_WAIT = 35.0
"""Seconds for one answer; longer than the time-out that the server itself puts to a statement."""


class PatientConnection(psycopg.Connection[Any]):
    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Raises ``psycopg.OperationalError`` if the server does not answer."""
        try:
            return super().wait(gen, interval, LONGEST_WAIT if timeout is None else timeout)
        except psycopg.OperationalError:
            _give_up_if_unanswered(self)
            raise


class PatientAsyncConnection(psycopg.AsyncConnection[Any]):
    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - its signature is psycopg's
        """Raises ``psycopg.OperationalError`` if the server does not answer."""
        try:
            return await super().wait(gen, interval, LONGEST_WAIT if timeout is None else timeout)
        except psycopg.OperationalError:
            _give_up_if_unanswered(self)
            raise


def _give_up_if_unanswered(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """An answer that came later would be taken for that to the next statement."""
    if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
        connection.pgconn.finish()

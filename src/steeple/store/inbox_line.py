"""The quick way into the inbox, for one submitter at a time: a connection kept at hand, and no layer between it and us.

What each statement costs above psycopg is more than a small INSERT costs PostgreSQL. Whatever is not plain sailing goes
by the thorough way, ``insert_jobs``: it can be repeated after any outcome, as the ids of the jobs are made by us.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg.errors import LockNotAvailable
from sqlalchemy.ext.asyncio import AsyncConnection as Checkout

from steeple.domain.job import NewJob
from steeple.store.database import Database
from steeple.store.engine import DatabaseError
from steeple.store.inbox import PLAIN_INSERT, insert_jobs
from steeple.store.inbox_answers import Accepted, Answer
from steeple.store.inbox_conflicts import may_have_joined
from steeple.store.inbox_rows import rows_of


class HeldUp(Exception):
    """A transaction that is under way has a key of the jobs, and did not end for as long as the line waits."""


class InboxLine:
    """Over a database that is not atomic, with connections enough for every line and as many more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._checkout: Checkout | None = None

    async def insert(self, jobs: Sequence[NewJob]) -> list[Answer]:
        """As ``insert_jobs``, up to three times. Raises ``DatabaseError``; ``HeldUp`` if a transaction that has one of
        their keys takes its time."""
        try:
            answers = None if any(map(may_have_joined, jobs)) else await self._insert_quickly(jobs)
        except LockNotAvailable as error:
            raise HeldUp from error
        except (Error, DatabaseError):
            await self._give_up()
            answers = None
        if answers is not None:
            return answers
        try:
            return await self._database.run(lambda connection: insert_jobs(connection, jobs))
        except DatabaseError as error:
            if isinstance(error.orig, LockNotAvailable):
                raise HeldUp from error
            raise

    async def close(self) -> None:
        """Give the connection back."""
        if self._checkout is not None:
            await self._checkout.close()

    async def _insert_quickly(self, jobs: Sequence[NewJob]) -> list[Answer] | None:
        """None if a job was left out."""
        if self._checkout is None:
            self._checkout = await self._database.connect()
        raw: Any = await self._checkout.get_raw_connection()
        driver: AsyncConnection[Any] = raw.driver_connection
        async with driver.cursor(binary=True) as cursor:
            await cursor.execute(PLAIN_INSERT, {"jobs": rows_of(jobs), "now": None})
            stored = {row[0]: Accepted(*row) for row in await cursor.fetchall()}
        return [stored[job.id] for job in jobs] if len(stored) == len(jobs) else None

    async def _give_up(self) -> None:
        """Close the connection, whatever is wrong with it; another one is made when it is needed."""
        checkout, self._checkout = self._checkout, None
        if checkout is not None:
            await checkout.invalidate()
            await checkout.close()

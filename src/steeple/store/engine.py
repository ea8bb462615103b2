"""Builds the engines, the only place that does: time-outs, prepared statements, retries after a lost connection.

Parts hand engines and connections on without looking into them; they take those types from here.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Connection as Connection
from sqlalchemy import Engine as Engine
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine as AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine

from steeple.errors import ConfigurationError
from steeple.settings import Settings
from steeple.store.patience import PatientAsyncConnection, PatientConnection

T = TypeVar("T")

DatabaseError = DBAPIError
"""What the store raises when PostgreSQL refuses or cannot be reached."""

_SAFE_TO_REPEAT = frozenset({"40P01", "40001", "57P01", "57P02", "57P03", "53300", "55P03"})
"""Deadlock, serialisation failure, server going down or starting, no connection left, lock time-out."""

_UNAVAILABLE = frozenset({"57P01", "57P02", "57P03", "53300"})

_NOT_YET = frozenset({"25006", "42P01", "42703"})
"""A standby that has not been promoted, no such table or column: the schema is not at head."""

# A peer that is gone without a word is noticed within 14 s, by either side; by one that has sent something, within 8 s:
# it would go on repeating itself ever more rarely, and after a cut of 10 s be silent for 10 s more.
_KEEPALIVES_IDLE, _KEEPALIVES_INTERVAL, _KEEPALIVES_COUNT, _UNHEARD_MILLISECONDS = 5, 3, 3, 8_000

# A part that falls silent in the middle of a transaction, as a machine does that is cut off, must not keep its locks
# for long: whoever takes its jobs over waits for them. Nor its connections: the server has not so many.
#
# A plan that does not know how few rows are wanted looks dear: it would be compiled each time on a large table, which
# takes far longer than any statement here.
_SESSION = {
    "jit": "off",
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",
    "timezone": "UTC",
    "tcp_keepalives_idle": str(_KEEPALIVES_IDLE),
    "tcp_keepalives_interval": str(_KEEPALIVES_INTERVAL),
    "tcp_keepalives_count": str(_KEEPALIVES_COUNT),
    "tcp_user_timeout": str(_UNHEARD_MILLISECONDS),
}

# For who sends the same statements over and over.
_PLAN_ONCE = {"plan_cache_mode": "force_generic_plan"}

# Sets them for the session, in one round trip.
_SET = """
SELECT set_config(name, value, false)
FROM unnest(CAST(%s AS text[]), CAST(%s AS text[])) AS setting (name, value)
"""

CONNECT = {
    "connect_timeout": 5,
    "application_name": "steeple",
    "keepalives_idle": _KEEPALIVES_IDLE,
    "keepalives_interval": _KEEPALIVES_INTERVAL,
    "keepalives_count": _KEEPALIVES_COUNT,
    "tcp_user_timeout": _UNHEARD_MILLISECONDS,
}
"""What libpq is told for every connection."""


def database_url(settings: Settings) -> URL:
    """The URL of the database with psycopg as its driver. Raises ``ConfigurationError`` if none is set."""
    if settings.database_url is None:
        raise ConfigurationError("no database: set STEEPLE_DATABASE_URL, such as postgresql://user@host/steeple")
    try:
        url = make_url(settings.database_url.get_secret_value())
    except (ArgumentError, ValueError):  # whose words may hold a part of the password
        raise ConfigurationError(
            "STEEPLE_DATABASE_URL is no URL such as postgresql://user:password@host:5432/steeple; in the password, "
            "write special characters by their codes, such as %2F for /"
        ) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(f"STEEPLE_DATABASE_URL names {url.get_backend_name()!r}: Steeple needs PostgreSQL")
    return url.set(drivername="postgresql+psycopg")


def create_engine(settings: Settings, *, size: int = 5, plans_once: bool = False) -> Engine:
    """An engine whose connections commit each statement by itself unless a transaction is begun by hand.

    If it ``plans_once``, a statement that is sent again and again is not planned for its parameters each time: to plan
    the exchange takes longer than to claim a job with it.
    """
    engine = sqlalchemy.create_engine(database_url(settings), **_pool(size))
    event.listen(engine, "do_connect", _connect)
    session = _SESSION | (_PLAN_ONCE if plans_once else {})
    event.listen(engine, "connect", partial(_prepare_connection, session))
    return engine


def create_aio_engine(settings: Settings, *, size: int = 10, is_atomic: bool = True) -> AsyncEngine:
    """The same for asyncio; store functions are called through ``run_sync``.

    Unless it ``is_atomic``, each statement commits by itself even where a transaction is begun: that saves two of three
    round trips where work is a single statement, or any part of it may stand alone.
    """
    options = {} if is_atomic else {"isolation_level": "AUTOCOMMIT"}
    pool = _pool(size)
    pool["connect_args"] = pool["connect_args"] | {"async_creator_fn": PatientAsyncConnection.connect}
    engine = create_async_engine(database_url(settings), **pool, **options)
    event.listen(engine.sync_engine, "connect", partial(_prepare_connection, _SESSION))
    return engine


def _pool(size: int) -> dict[str, Any]:
    return {
        "pool_size": size,
        "max_overflow": size,
        "pool_timeout": 10,
        "connect_args": CONNECT,
        "hide_parameters": True,  # arguments of jobs, idempotency keys: errors end in logs
        "query_cache_size": 1200,
    }


def _connect(_dialect: object, _record: object, words: list[Any], options: dict[str, Any]) -> PatientConnection:
    return PatientConnection.connect(*words, **options)


def _prepare_connection(session: Mapping[str, str], dbapi_connection: Any, _record: object) -> None:
    """Set what holds for the session. Behind a transaction pooler both that and prepared statements would leak away."""
    cursor = dbapi_connection.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    backend = cursor.fetchone()[0]
    driver = getattr(dbapi_connection, "driver_connection", dbapi_connection)
    if backend != driver.info.backend_pid:
        driver.prepare_threshold = None
    else:
        cursor.execute(_SET, (list(session), list(session.values())))
    dbapi_connection.commit()
    cursor.close()


def is_repeatable(error: DBAPIError) -> bool:
    """True if the statement may be sent again: the connection went, or the server asked for it."""
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _SAFE_TO_REPEAT


def is_away(error: DBAPIError) -> bool:
    """True if the server cannot be reached, or is starting, stopping or full: it says nothing about the statement."""
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return state in _UNAVAILABLE or state.startswith("08")


def is_data_error(error: DBAPIError) -> bool:
    """True if PostgreSQL, or psycopg before it, refused a value: the same again would be refused again."""
    state = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, DataError | IntegrityError) or state[:2] in {"22", "23", "54"}


def is_unavailable(error: BaseException) -> bool:
    """True if the database cannot be reached, took too long or lacks the schema: later it may do what was asked."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, PoolTimeout)
    is_for_now = is_away(error) or is_repeatable(error) or isinstance(error, OperationalError)
    return is_for_now or getattr(error.orig, "sqlstate", None) in _NOT_YET


def briefly(engine: Engine, work: Callable[[Connection], T], *, lock_timeout: float = 1.0) -> T:
    """Run ``work`` in a transaction, once, waiting ``lock_timeout`` seconds for a lock at most.

    For a caller that has other things to look after, and comes back to this one.
    """
    with engine.begin() as connection:
        setting = {"timeout": f"{round(lock_timeout * 1000)}ms"}
        connection.execute(text("SELECT set_config('lock_timeout', :timeout, true)"), setting)
        return work(connection)


def in_transaction(engine: Engine, work: Callable[[Connection], T], *, tries: int = 3) -> T:
    """Run ``work`` in a transaction; again if the connection was lost or the server asked for a repeat.

    Only for work that may be done twice: reads, and writes that a fence, a key or their own condition guards.
    """
    for left in range(tries - 1, -1, -1):
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if not left or not is_repeatable(error):
                raise
        time.sleep(moment())
    raise AssertionError("unreachable")


async def in_aio_transaction(engine: AsyncEngine, work: Callable[[Connection], T], *, tries: int = 3) -> T:
    """``in_transaction`` for asyncio."""
    for left in range(tries - 1, -1, -1):
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        except DBAPIError as error:
            if not left or not is_repeatable(error):
                raise
        await asyncio.sleep(moment())
    raise AssertionError("unreachable")


def moment() -> float:
    """Seconds before a repeat, by chance: whoever had the better of a deadlock gets on before it comes again."""
    return random.uniform(0.01, 0.05)  # noqa: S311 - no secret


@dataclass(frozen=True)
class ServerFacts:
    version: int
    """Major version, such as 18."""
    now: datetime


def server_facts(connection: Connection) -> ServerFacts:
    """The server's version and clock."""
    query = "SELECT CAST(current_setting('server_version_num') AS integer) / 10000, clock_timestamp()"
    row = connection.execute(text(query)).one()
    return ServerFacts(version=row[0], now=row[1])

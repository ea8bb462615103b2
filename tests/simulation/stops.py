"""Makes those who use an engine stop before and after every statement and COMMIT."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import psycopg
from actors import Actor, Sent
from sqlalchemy import Engine, TextClause, event

import steeple.store as store

_CLAIM = "exchange_statement.EXCHANGE"
_HOMES = {"EXCHANGE": "exchange_statement"}
"""Of statements that another module uses, too."""
_NO_FINISHES = "[]"


def stop_at_every_step(engine: Engine) -> None:
    """Whoever is no actor passes freely."""
    event.listen(engine, "before_cursor_execute", lambda *args: _before(args[0], args[4], args[2], args[3]))
    event.listen(engine, "after_cursor_execute", lambda *args: _after(args[0], args[4], args[2]))
    dialect: Any = engine.dialect
    dialect.do_commit = _stopping(dialect.do_commit)
    dialect.do_rollback = _sparing_the_killed(dialect.do_rollback)


def fail_if_cut(actor: Actor, driver: Any) -> None:
    """The connection went after the server had done its part: the reply is lost."""
    if actor.is_cut:
        actor.is_cut = False
        driver.pgconn.finish()
        raise psycopg.OperationalError("the connection was cut before the reply came")


def _before(connection: Any, context: Any, statement: str, parameters: Any) -> None:
    actor = Actor.current()
    if actor is None:
        return
    driver, name = connection.connection.driver_connection, _name(context, statement)
    actor.pid, actor.engine = driver.info.backend_pid, None if connection.dialect.is_async else connection.engine
    actor.stop(f"before {name}", only_if_shown=True)
    if not driver.autocommit:
        actor.begins_transaction()
    elif actor.is_late:
        actor.leaves_behind(Sent(name, statement, parameters))
        driver.pgconn.finish()
    actor.must_not_wait = name == _CLAIM and parameters["finishes"] == _NO_FINISHES


def _after(connection: Any, context: Any, statement: str) -> None:
    actor = Actor.current()
    if actor is None:
        return
    driver = connection.connection.driver_connection
    actor.must_not_wait = False
    actor.stop(f"after {_name(context, statement)}")
    fail_if_cut(actor, driver)


def _stopping(commit: Callable[[Any], None]) -> Callable[[Any], None]:
    def do_commit(connection: Any) -> None:
        actor = Actor.current()
        driver = getattr(connection, "driver_connection", connection)
        if actor is None or driver.autocommit or driver.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            commit(connection)
            return
        actor.pid = driver.info.backend_pid
        actor.stop("before COMMIT", only_if_shown=True)
        commit(connection)
        actor.opened_at = None
        actor.stop("after COMMIT")
        fail_if_cut(actor, driver)

    return do_commit


def _sparing_the_killed(rollback: Callable[[Any], None]) -> Callable[[Any], None]:
    """The dead do not roll back; their connection is closed."""

    def do_rollback(connection: Any) -> None:
        actor = Actor.current()
        if actor is not None:
            actor.opened_at = None
        if actor is not None and actor.is_killed:
            getattr(connection, "driver_connection", connection).pgconn.finish()
        else:
            rollback(connection)

    return do_rollback


def _name(context: Any, statement: str) -> str:
    """The name that the store has for a statement, such as ``exchange_statement.EXCHANGE``."""
    invoked = getattr(context, "invoked_statement", None)
    return _names().get(id(invoked), " ".join(statement.split())[:40])


def _names() -> dict[int, str]:
    """In one order, as a module may have a statement of another: ``exchange`` has that of ``exchange_statement``."""
    modules = [vars(store)[name] for name in sorted(vars(store)) if isinstance(vars(store)[name], ModuleType)]
    return {
        id(value): f"{_HOMES.get(name, module.__name__.rsplit('.', 1)[1])}.{name}"
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, TextClause)
    }

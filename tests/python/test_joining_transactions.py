"""A job that joins the caller's transaction: committed with it, or never there; and woken after it, not before."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from steeple import Settings, State, Steeple
from steeple.broker.celery_app import queue_name
from steeple.domain.priority import Binding, Lane, Priority
from steeple.embedded.processes import wait_until
from steeple.embedded.valkey import EmbeddedValkey
from steeple.errors import InvalidArguments, UniqueKeyHeld
from steeple.store.engine import create_aio_engine, create_engine
from steeple.store.workers import NewWorker, register
from steeple.submission import new_id

Count = Callable[[], int]


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    return Settings(database_url=database_url, broker_url=broker_url)


@pytest.fixture
def app(app: Steeple, engine: Engine) -> Steeple:
    @app.task("ship")
    def ship(order: int) -> None: ...

    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id integer PRIMARY KEY)"))
    return app


@pytest.fixture
def orders(engine: Engine) -> Callable[[], list[int]]:
    def read() -> list[int]:
        with engine.begin() as connection:
            return list(connection.execute(text("SELECT id FROM orders ORDER BY id")).scalars())

    return read


def _insert(connection: Any, order: int) -> Any:
    return connection.execute(text("INSERT INTO orders VALUES (:id)"), {"id": order})


def test_committed_with_a_connection_the_job_exists(
    app: Steeple, engine: Engine, count: Count, orders: Callable[[], list[int]]
) -> None:
    with engine.connect() as connection:
        _insert(connection, 1)
        handle = app.submit("ship", {"order": 1}, connection=connection)
        assert (count(), orders()) == (0, [])
        connection.commit()

    assert (count(), orders()) == (1, [1])
    assert handle.state() is State.PENDING


def test_rolled_back_with_a_connection_the_job_never_was(
    app: Steeple, engine: Engine, count: Count, orders: Callable[[], list[int]]
) -> None:
    with engine.connect() as connection:
        _insert(connection, 1)
        app.submit("ship", {"order": 1}, connection=connection)
        connection.rollback()

    assert (count(), orders()) == (0, [])


def test_rolled_back_with_a_session_the_job_never_was(
    app: Steeple, engine: Engine, count: Count, orders: Callable[[], list[int]]
) -> None:
    with Session(engine) as session:
        _insert(session, 1)
        app.submit("ship", {"order": 1}, connection=session)
        session.rollback()

    assert (count(), orders()) == (0, [])


def test_committed_with_a_session_the_job_exists(app: Steeple, engine: Engine, count: Count) -> None:
    with Session(engine) as session, session.begin():
        app.submit_batch("ship", [{"order": 1}, {"order": 2}], connection=session)
        app.tasks["ship"].submit.with_options(connection=session)(order=3)

    assert count() == 3


def test_a_scoped_session_is_a_session(app: Steeple, engine: Engine, count: Count) -> None:
    session = scoped_session(sessionmaker(engine))
    app.submit("ship", {"order": 1}, connection=session)
    assert count() == 0
    session.commit()
    assert count() == 1
    session.remove()


def test_a_rolled_back_savepoint_takes_its_job_along(app: Steeple, engine: Engine, count: Count) -> None:
    with Session(engine) as session, session.begin():
        kept = app.submit("ship", {"order": 1}, connection=session)
        with session.begin_nested() as savepoint:
            app.submit("ship", {"order": 2}, connection=session)
            savepoint.rollback()

    assert count() == 1
    assert kept.state() is State.PENDING


@pytest.mark.parametrize("refusal", [InvalidArguments, UniqueKeyHeld])
def test_a_refusal_leaves_the_transaction_usable(
    app: Steeple, engine: Engine, count: Count, orders: Callable[[], list[int]], refusal: type[Exception]
) -> None:
    app.submit("ship", {"order": 0}, unique_key="taken")
    order = "x" if refusal is InvalidArguments else 1

    with Session(engine) as session, session.begin():
        _insert(session, 1)
        with pytest.raises(refusal):
            app.submit("ship", {"order": order}, connection=session, unique_key="taken")
        _insert(session, 2)

    assert (count(), orders()) == (1, [1, 2])


def test_a_database_without_the_schema_refuses_and_leaves_the_transaction_usable(
    app: Steeple, empty_database_url: str
) -> None:
    elsewhere = create_engine(Settings(database_url=empty_database_url))
    with elsewhere.begin() as connection:
        with pytest.raises(ProgrammingError, match='relation "queues" does not exist'):
            app.submit("ship", {"order": 1}, connection=connection)
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    elsewhere.dispose()


@asynccontextmanager
async def _aio(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_aio_engine(settings)
    yield engine
    await engine.dispose()


_CALLERS: dict[str, Callable[[AsyncEngine], Any]] = {"session": AsyncSession, "connection": AsyncEngine.connect}


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("kind", list(_CALLERS))
def test_asyncio_joins_too(app: Steeple, settings: Settings, count: Count, kind: str, commits: bool) -> None:
    async def run() -> None:
        async with _aio(settings) as engine, _CALLERS[kind](engine) as caller:
            await _insert(caller, 1)
            await app.submit_async("ship", {"order": 1}, connection=caller)
            assert count() == 0
            await (caller.commit() if commits else caller.rollback())

    asyncio.run(run())
    assert count() == int(commits)


def test_an_async_session_is_for_submit_async(app: Steeple, settings: Settings) -> None:
    async def run() -> None:
        async with _aio(settings) as engine, AsyncSession(engine) as session:
            with pytest.raises(TypeError, match="submit_async"):
                app.submit("ship", {"order": 1}, connection=session)  # type: ignore[arg-type]

    asyncio.run(run())


@pytest.fixture
def woken(valkey: EmbeddedValkey, broker_url: str, app: Steeple, engine: Engine) -> Iterator[Callable[[], int]]:
    """How many wake-ups wait in the default lane, for a worker that is there."""
    worker = NewWorker(new_id(), "w", "0", 100, Binding(), ("ship",))
    with engine.begin() as connection:
        register(connection, worker)
    number = int(broker_url.rpartition("=")[2])
    with redis.Redis(unix_socket_path=str(valkey.socket_path), db=number) as client:
        yield lambda: int(client.llen(queue_name(Lane(None, Priority.DEFAULT))))


def test_a_commit_wakes_the_lane(app: Steeple, engine: Engine, woken: Callable[[], int]) -> None:
    with Session(engine) as session, session.begin():
        app.submit_batch("ship", [{"order": 1}, {"order": 2}], connection=session)
        with session.begin_nested():
            app.submit("ship", {"order": 3}, connection=session)

    assert wait_until(lambda: woken() == 3, 10)


def test_nothing_is_woken_before_the_commit_or_for_what_was_rolled_back(
    app: Steeple, engine: Engine, woken: Callable[[], int]
) -> None:
    with Session(engine) as session:
        app.submit_batch("ship", [{"order": 1}] * 10, connection=session)
        session.rollback()
        with session.begin_nested():
            app.submit_batch("ship", [{"order": 1}] * 20, connection=session)
        session.close()
        app.submit("ship", {"order": 1}, connection=session)
        app.submit("ship", {"order": 2}, delay=60, connection=session)
        session.commit()

    assert wait_until(lambda: woken() > 0, 10)
    app.close()  # sends what is still noted
    assert woken() == 1

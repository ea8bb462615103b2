"""Engines: what a session is set to, what is tried again, what counts as the database being away."""

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from playground import Playground
from steeple.errors import ConfigurationError
from steeple.settings import Settings
from steeple.store.engine import (
    create_engine,
    database_url,
    in_transaction,
    is_away,
    is_data_error,
    is_repeatable,
    server_facts,
)

_NOBODY = "postgresql://nobody@/nothing?host=/nowhere"


@pytest.fixture
def engine(playground: Playground) -> Iterator[Engine]:
    """One connection at the most, so that a test knows which one is used."""
    found = create_engine(Settings(database_url=playground.url), size=1)
    yield found
    found.dispose()


def failure(engine: Engine, statement: str) -> DBAPIError:
    with pytest.raises(DBAPIError) as failed, engine.begin() as connection:
        connection.execute(text(statement))
    return failed.value


def kill_others(playground: Playground) -> None:
    playground.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database() AND application_name = 'steeple'"
    )


@pytest.mark.parametrize("url", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg2://u@h/d"])
def test_any_spelling_of_postgresql_becomes_psycopg(url: str) -> None:
    assert database_url(Settings(database_url=url)).drivername == "postgresql+psycopg"


@pytest.mark.parametrize("url", [None, "sqlite:///x", "mysql://u@h/d"])
def test_another_database_is_refused(url: str | None) -> None:
    with pytest.raises(ConfigurationError):
        database_url(Settings(database_url=url))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("timezone", "UTC"),
        ("application_name", "steeple"),
    ],
)
def test_every_session_has_its_limits(engine: Engine, setting: str, value: str) -> None:
    with engine.begin() as connection:
        assert connection.exec_driver_sql(f"SHOW {setting}").scalar() == value


def test_the_server_s_version_and_clock_are_told(engine: Engine) -> None:
    with engine.begin() as connection:
        facts = server_facts(connection)
    assert facts.version >= 15
    assert facts.now.tzinfo is not None


def test_work_is_done_again_on_a_new_connection_when_the_old_one_was_lost(
    engine: Engine, playground: Playground
) -> None:
    in_transaction(engine, lambda connection: connection.execute(text("SELECT 1")))
    kill_others(playground)
    assert in_transaction(engine, lambda connection: connection.execute(text("SELECT 2")).scalar()) == 2


def test_a_deadlock_is_resolved_by_trying_again(playground: Playground) -> None:
    jobs = playground.add_many(2)
    barrier = threading.Barrier(2)
    tries: list[int] = [0, 0]

    def lock_both(who: int) -> None:
        def work(connection: Connection) -> None:
            tries[who] += 1
            for place, job_id in enumerate(jobs if who else reversed(jobs)):
                connection.execute(text("UPDATE jobs SET tags = '{x}' WHERE id = :id"), {"id": job_id})
                if place == 0 and tries[who] == 1:
                    barrier.wait()

        in_transaction(playground.engine, work)

    threads = [threading.Thread(target=lock_both, args=[who]) for who in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(tries) == 1
    assert max(tries) > 1


def test_a_mistake_is_not_tried_again(engine: Engine) -> None:
    tries = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("SELECT 1 / 0"))

    with pytest.raises(DBAPIError):
        in_transaction(engine, work)
    assert len(tries) == 1


def test_a_server_that_is_not_there_is_away() -> None:
    engine = create_engine(Settings(database_url=_NOBODY))
    assert is_away(failure(engine, "SELECT 1"))


def test_a_lost_connection_is_away_and_may_be_repeated(engine: Engine, playground: Playground) -> None:
    in_transaction(engine, lambda connection: connection.execute(text("SELECT 1")))
    kill_others(playground)
    lost = failure(engine, "SELECT 1")
    assert is_away(lost)
    assert is_repeatable(lost)


@pytest.mark.parametrize("statement", ["SELECT 1 / 0", "SELECT CAST('{' AS json)", "SELECT nothing"])
def test_a_refused_statement_is_not_away(engine: Engine, statement: str) -> None:
    error = failure(engine, statement)
    assert not is_away(error)
    assert not is_repeatable(error)
    assert is_data_error(error) == (statement != "SELECT nothing")


def test_a_connection_outside_the_store_sees_the_same_database(playground: Playground) -> None:
    plain = sqlalchemy.create_engine(playground.url, poolclass=sqlalchemy.NullPool)
    job_id = playground.add()
    with plain.connect() as connection:
        assert connection.execute(text("SELECT id FROM jobs")).scalar_one() == job_id

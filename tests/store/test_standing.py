"""A connection that is kept: its statements stand alone, it is replaced when lost, and faults are what they were."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, text

from playground import Playground
from steeple.store.engine import DatabaseError, is_data_error
from steeple.store.standing import StandingConnection, ask

_BACKEND = text("SELECT pg_backend_pid() AS backend")
_DIVIDE = text("SELECT 1 / CAST(:number AS integer) AS result")


@pytest.fixture
def standing(playground: Playground) -> Iterator[StandingConnection]:
    standing = StandingConnection(playground.engine)
    yield standing
    standing.close()


def _backend(connection: Connection) -> int:
    return int(ask(connection, _BACKEND, {})[0].backend)


def test_it_is_one_connection_until_it_is_closed(standing: StandingConnection) -> None:
    assert len({standing.run(_backend) for _ in range(3)}) == 1
    standing.close()
    assert standing.run(_backend)


def _backend_the_long_way(connection: Connection) -> int:
    return int(connection.execute(_BACKEND).scalar_one())


@pytest.mark.parametrize("read", [_backend, _backend_the_long_way])
def test_one_that_was_lost_is_replaced(
    standing: StandingConnection, playground: Playground, read: Callable[[Connection], int]
) -> None:
    first = standing.run(read)
    playground.sql("SELECT pg_terminate_backend(:backend, 60000)", backend=first)
    assert standing.run(read) != first


def test_what_was_written_is_committed_at_once(standing: StandingConnection, playground: Playground) -> None:
    standing.run(lambda connection: connection.execute(text("INSERT INTO counters VALUES ('c', 1)")))
    assert playground.value("SELECT value FROM counters WHERE name = 'c'") == 1


def test_a_question_has_its_answer_within_a_transaction_too(playground: Playground) -> None:
    with playground.engine.begin() as connection:
        connection.execute(text("INSERT INTO counters VALUES ('c', 1)"))
        (row,) = ask(connection, text("SELECT name, value FROM counters WHERE name = :name"), {"name": "c"})
    assert (row.name, row.value) == ("c", 1)


def test_a_question_that_fails_raises_what_the_store_raises_and_the_next_is_answered(
    standing: StandingConnection,
) -> None:
    with pytest.raises(DatabaseError) as caught:
        standing.run(lambda connection: ask(connection, _DIVIDE, {"number": 0}))
    assert is_data_error(caught.value)
    assert standing.run(lambda connection: ask(connection, _DIVIDE, {"number": 1}))[0].result == 1

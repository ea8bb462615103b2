"""The proxy loses what it should, and nothing else: the rows of lost commits would show nothing otherwise."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from postgres_proxy import Loss, PostgresProxy, Round

from servers import connect, database
from steeple.embedded.postgres import EmbeddedPostgres

Client = psycopg.Connection[tuple[object, ...]]

PATIENCE = 10.0


@pytest.fixture
def server(postgres: EmbeddedPostgres) -> Iterator[Client]:
    """Straight to a database of the test's own."""
    with database(postgres, "proxied"), connect(postgres, "proxied") as connection:
        connection.execute("CREATE TABLE notes (text text)")
        yield connection


@pytest.fixture
def proxy(postgres: EmbeddedPostgres) -> Iterator[PostgresProxy]:
    found = PostgresProxy(Path(postgres.socket_dir, ".s.PGSQL.5432"))
    yield found
    found.close()


@pytest.fixture
def client(server: Client, proxy: PostgresProxy) -> Iterator[Client]:
    url = f"postgresql://steeple@127.0.0.1:{proxy.port}/proxied?sslmode=prefer"
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def write(client: Client, text: str) -> None:
    client.execute("INSERT INTO notes VALUES (%s)", [text])


def notes(server: Client) -> list[object]:
    return [text for (text,) in server.execute("SELECT text FROM notes ORDER BY text").fetchall()]


def test_what_is_not_to_be_lost_gets_through(client: Client, server: Client, proxy: PostgresProxy) -> None:
    with proxy.losing(Loss.REPLY, lambda each: "DELETE" in (each.statement or ""), share=1.0) as accident:
        for number in range(10):  # from the sixth on, by a prepared statement
            write(client, str(number))
        with client.transaction():
            write(client, "x" * 200_000)
    assert len(notes(server)) == 11
    assert accident.log == []


@pytest.mark.parametrize(("loss", "arrived"), [(Loss.REQUEST, []), (Loss.REPLY, ["a"])])
def test_a_statement_that_commits_by_itself(
    client: Client, server: Client, proxy: PostgresProxy, loss: Loss, arrived: list[str]
) -> None:
    with proxy.losing(loss, lambda each: each.commits, share=1.0), pytest.raises(psycopg.OperationalError):
        write(client, "a")
    assert notes(server) == arrived


@pytest.mark.parametrize(("loss", "arrived"), [(Loss.REQUEST, []), (Loss.REPLY, ["a"])])
def test_a_commit(client: Client, server: Client, proxy: PostgresProxy, loss: Loss, arrived: list[str]) -> None:
    loses = proxy.losing(loss, lambda each: each.commits, share=1.0)
    with loses as accident, pytest.raises(psycopg.OperationalError), client.transaction():
        write(client, "a")
    assert accident.log == ["COMMIT"]
    assert notes(server) == arrived


def test_a_prepared_statement_is_known_by_its_text(client: Client, server: Client, proxy: PostgresProxy) -> None:
    for _ in range(10):
        write(client, "a")
    loses = proxy.losing(Loss.REPLY, lambda each: each.commits, share=1.0)
    with loses as accident, pytest.raises(psycopg.OperationalError):
        write(client, "b")
    assert accident.log == ["INSERT INTO notes VALUES ($1)"]
    assert notes(server)[-1] == "b"


def test_a_statement_that_is_held_goes_on_when_the_gate_opens(
    client: Client, server: Client, proxy: PostgresProxy
) -> None:
    def is_write(each: Round) -> bool:
        return "INSERT" in (each.statement or "")

    writing = threading.Thread(target=write, args=[client, "a"])
    with proxy.holding(is_write) as gate:
        writing.start()
        assert gate.has_caught.wait(PATIENCE)
        assert notes(server) == []
    writing.join(PATIENCE)
    assert notes(server) == ["a"]


def test_a_half_open_connection_is_silent_until_it_is_healed(client: Client, proxy: PostgresProxy) -> None:
    told: list[object] = []

    def ask() -> None:
        try:
            client.execute("SELECT 1")
        except psycopg.OperationalError as error:
            told.append(error)

    assert proxy.forget() == 1
    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(0.3)
    assert not told
    proxy.heal()
    asking.join(PATIENCE)
    assert len(told) == 1

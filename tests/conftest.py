"""Real servers for every test: one PostgreSQL and one Valkey per session, a fresh database and broker per test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from installation import installation
from playground import Playground
from servers import database
from steeple.embedded.directories import socket_directory
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.valkey import EmbeddedValkey

_TEMPLATE = "steeple_template"
_BROKER_DATABASES = 64

_numbers = itertools.count()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests found out beside passing or not: what they gave to ``record_property``."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    facts = {name: value for report in reports for name, value in report.user_properties}
    if facts:
        terminalreporter.section("facts")
    for name, value in sorted(facts.items()):
        terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    data_dir = tmp_path_factory.mktemp("postgres") / "data"
    sockets = socket_directory(data_dir)
    with EmbeddedPostgres(data_dir, sockets, fast=True) as server:
        yield server
    sockets.rmdir()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    data_dir = tmp_path_factory.mktemp("valkey")
    sockets = socket_directory(data_dir)
    with EmbeddedValkey(data_dir, sockets) as server:
        yield server
    sockets.rmdir()


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of a database with the schema at head, to be copied."""
    from steeple.store.migrate import upgrade

    with database(postgres, _TEMPLATE) as url:
        upgrade(url)
        yield _TEMPLATE


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A database of the test's own, with the schema at head and nothing in it."""
    with database(postgres, f"test_{next(_numbers)}", template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database without the schema."""
    with database(postgres, f"test_{next(_numbers)}") as url:
        yield url


@pytest.fixture
def broker_url(valkey: EmbeddedValkey) -> str:
    """An empty logical database; its number goes round, so that a late worker of an earlier test does no harm."""
    number = next(_numbers) % (_BROKER_DATABASES - 1)
    with redis.Redis(unix_socket_path=str(valkey.socket_path), db=number) as client:
        client.flushdb()
    return valkey.url(number)


@pytest.fixture(scope="session")
def installation_url(
    postgres: EmbeddedPostgres, template: str, valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A running installation with the demo tasks, one for all tests: they see each other's jobs."""
    broker = valkey.url(_BROKER_DATABASES - 1)
    folder = tmp_path_factory.mktemp("installation")
    with database(postgres, "installation", template) as url, installation(folder, url, broker) as api_url:
        yield api_url


@pytest.fixture
def short_dir(tmp_path: Path) -> Iterator[Path]:
    """A path short enough for sockets. The servers make it."""
    path = socket_directory(tmp_path)
    yield path
    if path.exists():
        path.rmdir()


@pytest.fixture(scope="session")
def shared_database_url(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A database that tests use one after the other: emptied between them, which is quicker than a new one."""
    with database(postgres, "test_shared", template) as url:
        yield url


@pytest.fixture
def playground(shared_database_url: str) -> Iterator[Playground]:
    """An empty database with ways to make jobs and workers in it."""
    found = Playground(shared_database_url)
    yield found
    found.close()

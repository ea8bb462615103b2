"""Databases on the test session's server: made from a template, dropped by force."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from steeple.embedded.postgres import EmbeddedPostgres


@contextmanager
def database(server: EmbeddedPostgres, name: str, template: str = "template0") -> Iterator[str]:
    """A database that exists for the length of the block, whoever is still connected at its end. Yields its URL."""
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    _execute(server, create)
    try:
        yield server.url(name)
    finally:
        _execute(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server: EmbeddedPostgres, statement: sql.Composed) -> None:
    with connect(server) as connection:
        connection.execute(statement)


def connect(server: EmbeddedPostgres, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
    """A plain psycopg connection in autocommit mode, for what a test has to do behind Steeple's back."""
    return psycopg.connect(libpq_url(server.url(database)), autocommit=True)


def libpq_url(url: str) -> str:
    """What libpq reads, from SQLAlchemy's URL."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)

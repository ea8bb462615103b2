"""Brings the schema to head, under a lock, so that any number of parts may start at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from steeple.store.engine import CONNECT

_LOCK = 0x5374_6565_706C_65  # "Steeple"


@dataclass(frozen=True)
class SchemaStatus:
    """``current`` is None in a database without Steeple's schema."""

    current: str | None
    head: str

    @property
    def is_at_head(self) -> bool:
        return self.current == self.head

    @property
    def is_behind(self) -> bool:
        """The schema must be upgraded first. One that is ahead, during an upgrade of the parts, will do.

        Revisions are numbers of four digits.
        """
        return self.current is None or self.current < self.head


def upgrade(url: str) -> SchemaStatus:
    """Bring the schema at ``url`` to head. Waits for another part that is doing the same."""
    with _connected(url) as connection, connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if read_status(connection).is_behind:
            command.upgrade(config(connection), "head")
        return read_status(connection)


def status(url: str) -> SchemaStatus:
    """Which revision the schema at ``url`` is at, and which is the newest."""
    with _connected(url) as connection:
        return read_status(connection)


def read_status(connection: Connection) -> SchemaStatus:
    context = MigrationContext.configure(connection, opts={"version_table": "steeple_schema"})
    return SchemaStatus(context.get_current_revision(), head())


def head() -> str:
    """The newest revision that this version of Steeple knows."""
    revision = ScriptDirectory.from_config(config(None)).get_current_head()
    assert revision is not None
    return revision


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Prepares no statement: behind a transaction pooler it would be left to whoever comes next."""
    engine = sqlalchemy.create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=sqlalchemy.NullPool,
        connect_args=CONNECT | {"prepare_threshold": None},
    )
    with engine.connect() as connection:
        yield connection


def config(connection: Connection | None) -> Config:
    """Alembic's configuration for our migrations, and for what it does on ``connection``."""
    made = Config(attributes={"connection": connection})
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.set_main_option("path_separator", "os")
    return made

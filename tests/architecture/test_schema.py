"""The tables in the code and those that the migrations make are the same."""

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from steeple.store.tables import Table


def test_the_migrations_make_the_tables_of_the_code(database_url: str) -> None:
    engine = sqlalchemy.create_engine(database_url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "steeple_schema"})
        assert compare_metadata(context, Table.metadata) == []


def test_the_migrations_can_be_undone(database_url: str) -> None:
    from alembic import command

    from steeple.store import migrate

    engine = sqlalchemy.create_engine(database_url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        command.downgrade(migrate.config(connection), "base")
    with engine.connect() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == ["steeple_schema"]
        types = "SELECT count(*) FROM pg_type WHERE typname LIKE 'job%'"
        assert connection.execute(sqlalchemy.text(types)).scalar_one() == 0

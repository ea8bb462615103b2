"""The schema: made by any number of parts at once, the same as the models, taken back without a trace."""

import threading

import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from steeple.store import migrate
from steeple.store.migrate import SchemaStatus, head, status, upgrade
from steeple.store.tables import Table

_OPTIONS = {"version_table": "steeple_schema", "compare_type": True, "compare_server_default": True}


def _engine(url: str) -> Engine:
    return create_engine(url, poolclass=sqlalchemy.NullPool)


def test_an_empty_database_is_brought_to_head(empty_database_url: str) -> None:
    assert status(empty_database_url) == SchemaStatus(None, head())
    assert upgrade(empty_database_url) == SchemaStatus(head(), head())
    assert status(empty_database_url).is_at_head


def test_parts_that_start_together_upgrade_once(empty_database_url: str) -> None:
    barrier = threading.Barrier(4)
    found: list[SchemaStatus] = []

    def start() -> None:
        barrier.wait()
        found.append(upgrade(empty_database_url))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SchemaStatus(head(), head())] * 4
    with _engine(empty_database_url).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM watermarks")).scalar_one() == 1


def test_a_schema_of_the_next_version_is_left_alone(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    with _engine(empty_database_url).begin() as connection:
        connection.execute(text("UPDATE steeple_schema SET version_num = '9999'"))
    found = upgrade(empty_database_url)
    assert (found.current, found.is_behind) == ("9999", False)


def test_the_migrations_make_what_the_models_say(database_url: str) -> None:
    with _engine(database_url).connect() as connection:
        context = MigrationContext.configure(connection, opts=_OPTIONS)
        assert compare_metadata(context, Table.metadata) == []


def test_indexes_and_checks_are_those_of_the_models(database_url: str) -> None:
    """What alembic does not compare: the conditions of partial indexes, checks, storage parameters."""
    facts = text("""
        SELECT indexdef AS fact FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'steeple_schema'
        UNION SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid <> 'steeple_schema'::regclass
        UNION SELECT relname || ' ' || reloptions::text FROM pg_class WHERE reloptions IS NOT NULL AND relkind = 'r'
    """)
    engine = _engine(database_url)
    with engine.begin() as connection:
        migrated = set(connection.execute(facts).scalars())
    with engine.begin() as connection:
        for table in reversed(Table.metadata.sorted_tables):
            connection.execute(text(f"DROP TABLE {table.name} CASCADE"))
        Table.metadata.create_all(connection)
    with engine.begin() as connection:
        declared = set(connection.execute(facts).scalars())
    assert migrated == declared
    assert len(migrated) > 30


def test_a_downgrade_leaves_nothing_behind(database_url: str) -> None:
    engine = _engine(database_url)
    with engine.begin() as connection:
        command.downgrade(migrate.config(connection), "base")
    assert inspect(engine).get_table_names() == ["steeple_schema"]
    assert status(database_url).current is None
    assert upgrade(database_url).is_at_head

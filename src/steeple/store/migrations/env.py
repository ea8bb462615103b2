"""Alembic's entry: runs the migrations on the connection that ``steeple.store.migrate`` hands over."""

from alembic import context

from steeple.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    transaction_per_migration=False,
    version_table="steeple_schema",
)
with context.begin_transaction():
    context.run_migrations()

"""The commands for API keys. They go straight to the database: the first key must come from somewhere."""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer

from steeple.cli.exits import ExitCode
from steeple.cli.faults import CommandFailed, reaching_the_database
from steeple.cli.loading import load_settings
from steeple.cli.output import note, write_json, write_line, write_table

T = TypeVar("T")

app = typer.Typer(help="Make, list and revoke API keys (needs STEEPLE_DATABASE_URL).", no_args_is_help=True)


class Scope(StrEnum):
    """The store's scopes; named here too, so that the help does not load the database's libraries."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will use the key, or what for.")],
    scopes: Annotated[list[Scope], typer.Option("--scope", help="What the key may do; may be repeated.")],
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from steeple.store.keys import create_key

    key = _in_database(lambda connection: create_key(connection, name, list(scopes)))
    write_line(key.key)
    note(f"key {key.id}; it is shown this once, keep it safe")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False) -> None:
    """List the keys: id, name, prefix, scopes, created, last used, revoked."""
    from steeple.store.keys import list_keys

    keys = _in_database(list_keys)
    columns = ("id", "name", "prefix", "scopes", "created_at", "last_used_at", "revoked_at")
    rows = [[getattr(key, column) for column in columns] for key in keys]
    if as_json:
        write_json([dict(zip(columns, map(_plain, row), strict=True)) for row in rows])
    else:
        write_table(columns, rows)


@app.command()
def revoke(key_id: Annotated[UUID, typer.Argument(metavar="ID")]) -> None:
    """Revoke a key: from now on the API does not know it."""
    from steeple.store.keys import revoke_key

    if not _in_database(lambda connection: revoke_key(connection, key_id)):
        raise CommandFailed(f"no valid key {key_id}; see `steeple keys list`", ExitCode.NOT_FOUND)
    note(f"key {key_id} is revoked")


def _in_database(work: Callable[[Any], T]) -> T:
    from steeple.store.engine import create_engine

    with reaching_the_database():
        engine = create_engine(load_settings(), size=1)
        try:
            with engine.begin() as connection:
                return work(connection)
        finally:
            engine.dispose()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value and str(value)

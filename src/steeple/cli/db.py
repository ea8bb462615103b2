"""The commands for the database's schema."""

from typing import Annotated

import typer

from steeple.cli.exits import ExitCode
from steeple.cli.faults import reaching_the_database
from steeple.cli.loading import load_settings
from steeple.cli.output import note, write_json, write_line, write_table

app = typer.Typer(help="Bring the database's schema to head, or look where it is.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the schema to head, under a lock: any number may run at once."""
    from steeple.store.migrate import upgrade

    with reaching_the_database():
        status = upgrade(_url())
    note(f"the schema is at {status.current}")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False) -> None:
    """Print the schema's revision and the newest; exit code 1 if they differ."""
    from steeple.store.migrate import status

    with reaching_the_database():
        found = status(_url())
    if as_json:
        write_json({"current": found.current, "head": found.head})
    else:
        write_table(("current", "head"), [(found.current or "none", found.head)])
    if found.current != found.head:
        note("the schema is not at head; run `steeple db upgrade`")
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def current() -> None:
    """Print the schema's revision, `none` if there is no schema."""
    from steeple.store.migrate import status

    with reaching_the_database():
        write_line(status(_url()).current or "none")


def _url() -> str:
    from steeple.store.engine import database_url

    return database_url(load_settings()).render_as_string(hide_password=False)

"""The Typer app: every group of commands in its place, ``--version``, and the exit codes at the end of the help."""

from importlib.metadata import version
from typing import Annotated

import typer

from steeple.cli import (
    bulk,
    db,
    doctor,
    jobs,
    keys,
    limits,
    operations,
    parts,
    queues,
    schedule_changes,
    schedules,
    submit,
)
from steeple.cli.exits import epilog
from steeple.cli.faults import Commands
from steeple.cli.output import write_line

app = typer.Typer(
    cls=Commands,
    epilog=epilog(),
    no_args_is_help=True,
    # An unexpected error keeps Python's own traceback: Typer's would print local variables, secrets among them.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
parts.add_to(app)
app.command()(doctor.doctor)
jobs.app.command()(submit.submit)
bulk.add_to(jobs.app)
app.add_typer(jobs.app, name="jobs")
schedule_changes.add_to(schedules.app)
app.add_typer(schedules.app, name="schedules")
app.add_typer(operations.app, name="operations")
app.add_typer(queues.app, name="queues")
app.add_typer(limits.app, name="limits")
app.add_typer(limits.weights_app, name="weights")
app.add_typer(db.app, name="db")
app.add_typer(keys.app, name="keys")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        write_line(f"steeple {version('steeple')}")
        raise typer.Exit


@app.callback()
def steeple(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run long tasks in the background: submit a job over HTTP or from Python, read its state at any time."""

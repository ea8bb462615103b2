"""The commands for operations: what was asked for with ``steeple jobs cancel --task …`` and its like, over HTTP."""

from typing import Annotated
from uuid import UUID

import typer

from steeple.cli import values
from steeple.cli.exits import ExitCode
from steeple.cli.jobs import AsJson, api
from steeple.cli.operation_progress import tell_end, watch
from steeple.cli.output import note, write_json, write_record, write_table
from steeple.domain.operation import OperationState

app = typer.Typer(help="Follow and abort what acts on many jobs (STEEPLE_URL, STEEPLE_API_KEY).", no_args_is_help=True)

OperationId = Annotated[UUID, typer.Argument(metavar="ID")]

_COLUMNS = ("id", "state", "action", "done", "skipped", "total", "created_at", "finished_at", "filter")


@app.command("list")
def list_(
    state: Annotated[list[OperationState] | None, typer.Option(case_sensitive=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List operations, newest first: id, state, action, done, skipped, total, created, finished, filter."""
    with api() as client:
        found = list(client.operations(limit=limit, state=[each.value for each in state or ()]))
    if as_json:
        write_json([operation.model_dump(mode="json") for operation in found])
        return
    write_table(_COLUMNS, [[getattr(operation, column) for column in _COLUMNS] for operation in found])
    if len(found) == limit:
        note(f"the newest {limit}; more with --limit")


@app.command()
def show(operation_id: OperationId, as_json: AsJson = False) -> None:
    """Show an operation: a line per member, name and value; then why jobs were skipped."""
    with api() as client:
        document = client.operation(str(operation_id)).model_dump(mode="json")
    if as_json:
        write_json(document)
        return
    reasons = document.pop("reasons")
    write_record(document)
    if reasons:
        write_table(("reason", "jobs", "examples"), [_row(each) for each in reasons])


@app.command()
def wait(
    operation_id: OperationId,
    timeout: Annotated[
        float | None,
        typer.Option(parser=values.duration, metavar="DURATION", help="Such as 30s. For ever if not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wait for the end of an operation, with a bar on a terminal. Exit code 7: it was aborted, 8: not ended."""
    with api() as client:
        operation = watch(client, client.operation(str(operation_id)), timeout)
    if as_json:
        write_json(operation.model_dump(mode="json"))
    tell_end(operation)
    raise typer.Exit(ExitCode.OK if operation.state == OperationState.DONE else ExitCode.JOB_CANCELLED)


@app.command()
def abort(operation_id: OperationId) -> None:
    """Stop an operation: from now on it acts on no job. What it has done stays done."""
    with api() as client:
        operation = client.abort(str(operation_id))
    tell_end(operation)


def _row(reason: dict[str, object]) -> list[object]:
    examples = reason["examples"]
    assert isinstance(examples, list)
    return [reason["reason"], reason["jobs"], [each["id"] for each in examples]]

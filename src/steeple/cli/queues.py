"""The commands for queues, all over HTTP."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steeple.cli import values
from steeple.cli.exits import ExitCode
from steeple.cli.faults import CommandFailed
from steeple.cli.jobs import AsJson, api
from steeple.cli.output import note as tell
from steeple.cli.output import write_json, write_line, write_table
from steeple.domain.priority import Priority, is_queue_name

if TYPE_CHECKING:
    from steeple.client.models import Queue

app = typer.Typer(help="Look after queues (STEEPLE_URL, STEEPLE_API_KEY).", no_args_is_help=True)

_LOOK_AGAIN_SECONDS = 0.5


def _name(text: str) -> str:
    if not is_queue_name(text):
        raise typer.BadParameter(f"{text!r} is not a queue's name: up to 100 letters, digits and . _ : -")
    return text


Name = Annotated[str, typer.Argument(metavar="QUEUE", parser=_name)]
Note = Annotated[str | None, typer.Option("--note", help="Why, for people.")]

_COLUMNS = (
    "name",
    "PENDING",
    "RUNNING",
    "paused_at",
    "paused_by",
    "pause_note",
    "default_priority",
    "retention",
    "max_running",
    "rate",
)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the queues: name, pending and running jobs, since when, by whom and why it is paused, what was set."""
    with api() as client:
        queues = client.queues()
    _write(queues, as_json=as_json)


@app.command()
def pause(name: Name, note: Note = None, as_json: AsJson = False) -> None:
    """Pause a queue: none of its jobs is started any more; those that run go on."""
    with api() as client:
        queue = client.pause_queue(name, note)
    _write([queue], as_json=as_json)


@app.command()
def resume(name: Name, as_json: AsJson = False) -> None:
    """Have the jobs of a paused queue started again."""
    with api() as client:
        queue = client.resume_queue(name)
    _write([queue], as_json=as_json)


@app.command()
def drain(
    name: Name,
    note: Note = None,
    timeout: Annotated[
        float | None,
        typer.Option(parser=values.duration, metavar="DURATION", help="Such as 30s. For ever if not given."),
    ] = None,
) -> None:
    """Pause a queue and wait until none of its jobs runs any more. Exit code 8: some still did."""
    ends = None if timeout is None else time.monotonic() + timeout
    with api() as client:
        queue = client.drain_queue(name, note)
        while not queue.drained:
            if ends is not None and time.monotonic() >= ends:
                raise CommandFailed(f"queue {name} is paused, and jobs of it still run", ExitCode.WAIT_TIMEOUT)
            time.sleep(_LOOK_AGAIN_SECONDS)
            queue = client.queue(name)
            if not queue.paused:
                raise CommandFailed(f"somebody has resumed queue {name} meanwhile", ExitCode.CONFLICT)
    tell(f"queue {name} is paused, and nothing of it runs")


@app.command()
def purge(
    name: Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Cancel the jobs that are pending in a queue, and print how many."""
    with api() as client:
        found = client.purge_queue(name, dry_run=True)
        if dry_run:
            write_line(str(found.count))
            return
        if not yes:
            typer.confirm(f"cancel {found.count} pending jobs of queue {name}?", abort=True, err=True)
        count, remaining = 0, 1
        while remaining:
            purged = client.purge_queue(name)
            count, remaining = count + purged.count, purged.remaining if purged.count else 0
    write_line(str(count))


@app.command("set")
def set_(
    name: Name,
    default_priority: Annotated[
        Priority | None, typer.Option(help="Of jobs of which neither submitter nor task names one.")
    ] = None,
    retention: Annotated[
        float | None,
        typer.Option(parser=values.duration, metavar="DURATION", help="How long finished jobs are kept, such as 30d."),
    ] = None,
    max_running: Annotated[int | None, typer.Option(min=0, help="How many of its jobs may run at once.")] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="COUNT/DURATION", help="How many may start in a time, such as 100/1m.")
    ] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="How many may start at once after a quiet time.")] = None,
    unset: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Take away what was set by an option; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set what holds for a queue."""
    if burst is not None and rate is None:
        raise typer.BadParameter("goes with --rate", param_hint="--burst")
    changes: dict[str, Any] = {"default_priority": default_priority, "retention": retention, "max_running": max_running}
    changes["rate"] = None if rate is None else values.rate(rate) | ({} if burst is None else {"burst": burst})
    changes = {key: value for key, value in changes.items() if value is not None}
    changes |= dict.fromkeys(_unset(unset or ()))
    if not changes:
        raise typer.BadParameter("say what to set, by an option, or --unset what was")
    with api() as client:
        queue = client.update_queue(name, **changes)
    _write([queue], as_json=as_json)


def _unset(names: Sequence[str]) -> list[str]:
    settable = ("default_priority", "retention", "max_running", "rate")
    known = {name.replace("_", "-"): name for name in settable}
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is neither of {', '.join(known)}", param_hint="--unset")
    return [known[name] for name in names]


def _write(queues: "Sequence[Queue]", *, as_json: bool) -> None:
    if as_json:
        write_json([queue.model_dump(mode="json") for queue in queues])
        return
    rows = [[queue.counts.get(column, getattr(queue, column, None)) for column in _COLUMNS] for queue in queues]
    write_table(_COLUMNS, rows)

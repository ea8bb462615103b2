"""The commands that look at schedules, over HTTP. Those that change them are in ``schedule_changes``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from steeple.cli.exits import ExitCode
from steeple.cli.faults import CommandFailed
from steeple.cli.jobs import AsJson, api
from steeple.cli.output import note, write_json, write_record, write_table

if TYPE_CHECKING:
    from steeple.client import Client

app = typer.Typer(help="Make jobs by themselves, by the clock (STEEPLE_URL, STEEPLE_API_KEY).", no_args_is_help=True)

Which = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its name or id.")]

_COLUMNS = ("id", "name", "task", "reading", "paused", "next_fire")
_FIRE_COLUMNS = ("time", "outcome", "job_id", "why")
_PAGE = 100


@app.command("list")
def list_(
    task: Annotated[list[str] | None, typer.Option()] = None,
    paused: Annotated[bool | None, typer.Option("--paused/--active")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many schedules.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List schedules, newest first: id, name, task, what it says, whether it is paused, next fire."""
    filters = {"task": task, "paused": None if paused is None else [str(paused).lower()]}
    with api() as client:
        found = list(_pages(client, filters, limit))
    if as_json:
        write_json(found)
        return
    write_table(_COLUMNS, [[_cell(each, column) for column in _COLUMNS] for each in found])
    if len(found) == limit:
        note(f"the newest {limit}; more with --limit")


@app.command()
def show(
    which: Which,
    fires: Annotated[bool, typer.Option("--fires", help="Its last fires, too.")] = False,
    backfills: Annotated[bool, typer.Option("--backfills", help="Its backfills, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a schedule: a line per member, name and value."""
    from steeple.client import schedules

    with api() as client:
        document = find(client, which)
        past = client.send(schedules.fires(document["id"]))["fires"] if fires else []
        filled = client.send(schedules.backfills(document["id"]))["backfills"] if backfills else []
    if as_json:
        extra = ({"fires": past} if fires else {}) | ({"backfills": filled} if backfills else {})
        write_json(document | extra)
        return
    write_record(document)
    if past:
        write_table(_FIRE_COLUMNS, [[fire[column] for column in _FIRE_COLUMNS] for fire in past])
    if filled:
        columns = tuple(filled[0])
        write_table(columns, [[each[column] for column in columns] for each in filled])


@app.command()
def preview(
    which: Which,
    count: Annotated[int, typer.Option(min=1, max=1000, help="So many fires.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Print when it fires next: in UTC, and by the clocks of its time zone."""
    from steeple.client import schedules

    with api() as client:
        found = client.send(schedules.preview(find(client, which)["id"], count))
    if as_json:
        write_json(found)
    else:
        write_table(("utc", found["timezone"]), list(zip(found["fires"], found["fires_local"], strict=True)))


def find(client: "Client", which: str) -> dict[str, Any]:
    """The schedule of this id or name."""
    from steeple.client import schedules

    if _is_id(which):
        return client.send(schedules.show(which))
    found: list[dict[str, Any]] = client.send(schedules.page({"name": which}))["schedules"]
    if not found:
        raise CommandFailed(f"no schedule {which!r}; see `steeple schedules list`", ExitCode.NOT_FOUND)
    return found[0]


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _pages(client: "Client", filters: dict[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    from steeple.client import schedules

    cursor, left = None, limit
    while left:
        asked = filters | {"limit": min(left, _PAGE), "cursor": cursor}
        page = client.send(schedules.page(asked))
        yield from page["schedules"][:left]
        left -= min(left, len(page["schedules"]))
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _cell(schedule: dict[str, Any], column: str) -> object:
    if column == "next_fire":
        return next(iter(schedule["next_fires"]), None)
    if column == "paused":
        return "paused" if schedule["paused"] else "active"
    return schedule[column]

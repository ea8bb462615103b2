"""The commands that make, change, run and delete schedules, over HTTP."""

from datetime import datetime
from typing import Annotated, Any

import typer

from steeple.cli import values
from steeple.cli.jobs import AsJson, api
from steeple.cli.output import note, write_json, write_line
from steeple.cli.schedules import Which, find
from steeple.domain.priority import Priority
from steeple.domain.schedule import CatchUp, Overlap

Moment = Annotated[datetime | None, typer.Option(parser=values.moment, metavar="TIME")]
Duration = Annotated[float | None, typer.Option(parser=values.duration, metavar="DURATION")]
Arg = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="An argument. JSON where it reads as JSON, text otherwise."),
]
Args = Annotated[str | None, typer.Option(metavar="JSON", help="All arguments: a JSON object, @FILE, or - for stdin.")]
Cron = Annotated[str | None, typer.Option(help="Minute, hour, day, month, weekday; or @daily and the like.")]
Every = Annotated[float | None, typer.Option("--every", parser=values.duration, metavar="DURATION")]
At = Annotated[
    list[datetime] | None,
    typer.Option("--at", parser=values.moment, metavar="TIME", help="A single time; may be repeated."),
]
Zone = Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help="Such as Europe/Berlin; UTC by default.")]


def add_to(app: typer.Typer) -> None:
    """Put the commands beside those that look."""
    for command in (create, update, pause, resume, run, backfill, delete):
        app.command()(command)


def create(
    name: Annotated[str, typer.Argument()],
    task: Annotated[str, typer.Argument(help="The task's name, such as demo.add.")],
    arg: Arg = None,
    args: Args = None,
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    timezone: Zone = None,
    starts_at: Moment = None,
    ends_at: Moment = None,
    jitter: Duration = None,
    overlap: Annotated[Overlap | None, typer.Option()] = None,
    catch_up: Annotated[CatchUp | None, typer.Option()] = None,
    catch_up_window: Duration = None,
    queue: Annotated[str | None, typer.Option()] = None,
    priority: Annotated[Priority | None, typer.Option()] = None,
    paused: Annotated[bool, typer.Option("--paused", help="It does not fire until it is resumed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a schedule and print its id. It needs one of --cron, --every and --at."""
    from steeple.client import schedules

    members = _rule(cron, every, at, timezone, starts_at, ends_at)
    members |= _given(
        jitter=jitter,
        overlap=overlap,
        catch_up=catch_up,
        catch_up_window=catch_up_window,
        queue=queue,
        priority=priority,
        paused=paused or None,
    )
    members |= {"name": name, "task": task, "args": values.job_arguments(args, arg or ())}
    with api() as client:
        made = client.send(schedules.create(members))
    if as_json:
        write_json(made)
        return
    write_line(made["id"])
    note(f"{made['reading']}; next: {', '.join(made['next_fires'][:1]) or 'never'}")


def update(
    which: Which,
    name: Annotated[str | None, typer.Option()] = None,
    task: Annotated[str | None, typer.Option()] = None,
    arg: Arg = None,
    args: Args = None,
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    timezone: Zone = None,
    starts_at: Moment = None,
    ends_at: Moment = None,
    jitter: Duration = None,
    overlap: Annotated[Overlap | None, typer.Option()] = None,
    catch_up: Annotated[CatchUp | None, typer.Option()] = None,
    catch_up_window: Duration = None,
    queue: Annotated[str | None, typer.Option()] = None,
    priority: Annotated[Priority | None, typer.Option()] = None,
    as_json: AsJson = False,
) -> None:
    """Change a schedule: what is given, the rest stays. Arguments that are given take the place of all there were."""
    from steeple.client import schedules

    members = _rule(cron, every, at, timezone, starts_at, ends_at)
    members |= _given(
        name=name,
        task=task,
        args=values.job_arguments(args, arg or ()) if args is not None or arg else None,
        jitter=jitter,
        overlap=overlap,
        catch_up=catch_up,
        catch_up_window=catch_up_window,
        queue=queue,
        priority=priority,
    )
    with api() as client:
        found = find(client, which)
        changed = client.send(schedules.update(found["id"], members, version=found["version"]))
    if as_json:
        write_json(changed)
    else:
        note(f"{changed['reading']}; next: {', '.join(changed['next_fires'][:1]) or 'never'}")


def pause(
    which: Which, why: Annotated[str | None, typer.Option("--note", help="Why, for others to read.")] = None
) -> None:
    """Pause a schedule: it does not fire until it is resumed."""
    from steeple.client import schedules

    with api() as client:
        client.send(schedules.pause(find(client, which)["id"], why))
    note(f"schedule {which} is paused")


def resume(which: Which) -> None:
    """Resume a schedule: it fires from its next time on."""
    from steeple.client import schedules

    with api() as client:
        resumed = client.send(schedules.resume(find(client, which)["id"]))
    note(f"schedule {which} fires again; next: {', '.join(resumed['next_fires'][:1]) or 'never'}")


def run(which: Which) -> None:
    """Make the job of a schedule now, and print its id. `steeple jobs wait` waits for it."""
    from steeple.client import schedules

    with api() as client:
        job = client.send(schedules.run(find(client, which)["id"]))
    write_line(job.id)


def backfill(
    which: Which,
    first: Annotated[datetime, typer.Option("--from", parser=values.moment, metavar="TIME")],
    last: Annotated[datetime, typer.Option("--to", parser=values.moment, metavar="TIME")],
    max_running: Annotated[int, typer.Option(min=1, help="Of its jobs, pending or running at once.")] = 1,
) -> None:
    """Make the jobs of a past range; prints the backfill's id. `schedules show --backfills` tells how far it is."""
    from steeple.client import schedules

    with api() as client:
        made = client.send(schedules.backfill(find(client, which)["id"], first, last, max_running))
    write_line(made["id"])
    note(f"{made['total']} fires, {max_running} at once")


def delete(which: Which) -> None:
    """Delete a schedule with the record of its fires; the jobs that it made stay."""
    from steeple.client import schedules

    with api() as client:
        found = find(client, which)
        client.send(schedules.delete(found["id"], version=found["version"]))
    note(f"schedule {which} is deleted")


def _rule(
    cron: str | None,
    every: float | None,
    at: list[datetime] | None,
    timezone: str | None,
    starts_at: datetime | None,
    ends_at: datetime | None,
) -> dict[str, Any]:
    given = _given(cron=cron, interval=every, times=at, timezone=timezone)
    return given | _given(starts_at=starts_at, ends_at=ends_at)


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, [])}

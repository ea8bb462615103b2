"""``steeple jobs submit``: the options of a job as flags, and its id as the answer."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from steeple.cli import values
from steeple.cli.jobs import AsJson, api, report_end
from steeple.cli.output import note, write_json, write_line
from steeple.domain.priority import Priority

Moment = Annotated[datetime | None, typer.Option(parser=values.moment, metavar="TIME")]
Duration = Annotated[float | None, typer.Option(parser=values.duration, metavar="DURATION")]


def submit(
    task: Annotated[str, typer.Argument(help="The task's name, such as demo.add.")],
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An argument. JSON where it reads as JSON, text otherwise."),
    ] = None,
    args: Annotated[
        str | None, typer.Option(metavar="JSON", help="All arguments: a JSON object, @FILE, or - for stdin.")
    ] = None,
    queue: Annotated[str | None, typer.Option()] = None,
    priority: Annotated[Priority | None, typer.Option()] = None,
    run_at: Moment = None,
    delay: Duration = None,
    expires_at: Moment = None,
    timeout: Duration = None,
    max_attempts: Annotated[int | None, typer.Option(min=1)] = None,
    unique_key: Annotated[str | None, typer.Option(help="At most one active job holds it.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Submitting again with it gives the same job.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end, as `jobs wait` does.")] = False,
    wait_timeout: Annotated[
        float | None,
        typer.Option(parser=values.duration, metavar="DURATION", help="How long to --wait. For ever if not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job and print its id; with --wait its result, as JSON, on a second line."""
    arguments = values.job_arguments(args, arg or ())
    options: dict[str, Any] = {
        "queue": queue,
        "priority": priority,
        "run_at": run_at,
        "delay": delay,
        "expires_at": expires_at,
    }
    options |= {"timeout": timeout, "max_attempts": max_attempts, "unique_key": unique_key, "tags": tag}
    _submit(task, arguments, options | {"idempotency_key": idempotency_key}, wait, wait_timeout, as_json)


def _submit(
    task: str,
    arguments: Mapping[str, Any],
    options: Mapping[str, Any],
    wait: bool,
    wait_timeout: float | None,
    as_json: bool,
) -> None:
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    with api() as client:
        job = client.submit(task, arguments, **given)
        if as_json and not wait:
            write_json(job.model_dump(mode="json"))
        elif not as_json:
            # At once, so that it is not lost if the wait is broken off.
            write_line(job.id)
        if wait:
            note(f"waiting for job {job.id}")
            report_end(client.wait(job.id, wait_timeout), as_json=as_json)

"""The commands for jobs, all over HTTP: what they can do, any client can.

``submit`` is in a file of its own, and so are the commands that can act on many: ``bulk``.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from steeple.cli import values
from steeple.cli.exits import ExitCode
from steeple.cli.faults import explain
from steeple.cli.loading import load_settings
from steeple.cli.output import complain, note, write_json, write_line, write_record, write_table
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.errors import ConfigurationError

if TYPE_CHECKING:
    from steeple.client import Client, Job

app = typer.Typer(help="Submit jobs and look after them (STEEPLE_URL, STEEPLE_API_KEY).", no_args_is_help=True)

JobId = Annotated[UUID, typer.Argument(metavar="ID")]
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON document.")]
Moment = Annotated[datetime | None, typer.Option(parser=values.moment, metavar="TIME")]

_COLUMNS = ("id", "state", "task", "queue", "priority", "attempt", "created_at", "finished_at")


@contextmanager
def api() -> "Iterator[Client]":
    """A client for the API that the environment names."""
    from steeple.client import Client

    settings = load_settings()
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    try:
        client = Client(settings.url, key)
    except ValueError as error:
        raise ConfigurationError(f"STEEPLE_URL or STEEPLE_API_KEY is wrong: {error}") from None
    with client:
        yield client


@app.command("list")
def list_(
    state: Annotated[list[State] | None, typer.Option(case_sensitive=False)] = None,
    task: Annotated[list[str] | None, typer.Option()] = None,
    queue: Annotated[list[str] | None, typer.Option()] = None,
    priority: Annotated[list[Priority] | None, typer.Option()] = None,
    tag: Annotated[list[str] | None, typer.Option()] = None,
    created_after: Moment = None,
    created_before: Moment = None,
    q: Annotated[str | None, typer.Option("--search", "-q", metavar="TEXT", help="Text to look for.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many jobs.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first: id, state, task, queue, priority, attempt, created, finished."""
    given: dict[str, Any] = {"state": state, "task": task, "queue": queue, "priority": priority, "tag": tag, "q": q}
    given |= {"created_after": created_after, "created_before": created_before}
    filters = {name: value for name, value in given.items() if value}
    with api() as client:
        jobs = list(client.jobs(limit=limit, **filters))
    if as_json:
        write_json([job.model_dump(mode="json") for job in jobs])
        return
    write_table(_COLUMNS, [[getattr(job, column) for column in _COLUMNS] for job in jobs])
    if len(jobs) == limit:
        note(f"the newest {limit}; more with --limit")


@app.command()
def show(
    job_id: JobId,
    attempts: Annotated[bool, typer.Option("--attempts", help="Its past attempts, too.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Its log lines, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a job: a line per member, name and value."""
    with api() as client:
        document = client.get(str(job_id)).model_dump(mode="json")
        if attempts:
            document["attempts"] = [attempt.model_dump(mode="json") for attempt in client.attempts(str(job_id))]
        if logs:
            document["logs"] = [line.model_dump(mode="json") for line in client.logs(str(job_id))]
    if as_json:
        write_json(document)
        return
    past, lines = document.pop("attempts", []), document.pop("logs", [])
    write_record(document)
    _write_items(past)
    _write_items(lines)


@app.command()
def why(job_id: JobId, as_json: AsJson = False) -> None:
    """Say why a job does not run, or where it does: a line per reason, code and text."""
    with api() as client:
        reasons = client.why(str(job_id))
    if as_json:
        write_json([reason.model_dump(mode="json") for reason in reasons])
    else:
        write_table(("code", "reason"), [[reason.code, reason.text] for reason in reasons])


@app.command()
def wait(
    job_id: JobId,
    timeout: Annotated[
        float | None,
        typer.Option(parser=values.duration, metavar="DURATION", help="Such as 30s. For ever if not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wait for the end of a job and print its result as JSON. Exit code 6: it failed, 7: cancelled, 8: not ended."""
    with api() as client:
        job = client.wait(str(job_id), timeout)
    report_end(job, as_json=as_json)


def report_end(job: "Job", *, as_json: bool) -> None:
    """Prints how a job ended and leaves with the exit code for it."""
    if as_json:
        write_json(job.model_dump(mode="json"))
    elif job.state == State.SUCCESS:
        write_line(json.dumps(job.result, ensure_ascii=False))
    raise typer.Exit(_tell_end(job))


def _tell_end(job: "Job") -> ExitCode:
    match job.state:
        case State.SUCCESS:
            return ExitCode.OK
        case State.CANCELLED:
            complain(f"job {job.id} was cancelled")
            return ExitCode.JOB_CANCELLED
        case _:
            why = f"{job.error.type or job.error.reason}: {job.error.message}" if job.error else "no error recorded"
            complain(f"job {job.id} failed: {' '.join(why.split())}")
            return ExitCode.JOB_FAILED


def for_each(job_ids: list[UUID], act: "Callable[[str], Job]") -> None:
    """Does as many as it can; leaves with the exit code of the first that could not be done."""
    codes = [_try(str(job_id), act) for job_id in job_ids]
    raise typer.Exit(next((code for code in codes if code is not ExitCode.OK), ExitCode.OK))


def _try(job_id: str, act: "Callable[[str], Job]") -> ExitCode:
    from steeple.client import Conflict, JobNotFound

    try:
        job = act(job_id)
    except (Conflict, JobNotFound) as error:
        fault = explain(error)
        assert fault is not None
        complain(f"{job_id}: {fault.message}")
        return fault.code
    write_table(("id", "state"), [(job.id, job.state)])
    return ExitCode.OK


def _write_items(items: list[dict[str, Any]]) -> None:
    if items:
        columns = tuple(dict.fromkeys(name for item in items for name in item))
        write_table(columns, [[item.get(name) for name in columns] for item in items])

"""``steeple jobs submit``: the options of a job as flags, and its id as the answer."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer

from steeple.cli import values
from steeple.cli.faults import CommandFailed, explain
from steeple.cli.jobs import AsJson, api, report_end
from steeple.cli.output import note, write_json, write_line
from steeple.domain.job import ParentFailure
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.domain.unique import OnConflict

Moment = Annotated[datetime | None, typer.Option(parser=values.moment, metavar="TIME")]
Duration = Annotated[float | None, typer.Option(parser=values.duration, metavar="DURATION")]
UniqueStates = Annotated[
    list[State] | None, typer.Option(case_sensitive=False, help="In which the job holds its key; may be repeated.")
]
UniquePeriod = Annotated[
    float | None,
    typer.Option(parser=values.duration, metavar="DURATION", help="How long it holds its key, at the most."),
]
Conflict = Annotated[
    OnConflict | None, typer.Option(help="What to do about a job that holds the key; reject if not given.")
]
Parents = Annotated[
    list[str] | None, typer.Option(metavar="ID", help="A job that must end before it. May be repeated.")
]
OnParentFailure = Annotated[
    ParentFailure | None, typer.Option(help="What becomes of it if such a job ends without success.")
]

_DONE = {
    "existing": "no new job was made",
    "replace": "it is now what the new one would have been",
    "debounce": "it waits until the new one would have been due",
}

_WANTS_TEXT = re.compile(r"\bstring\b")


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
    unique_key: Annotated[str | None, typer.Option(help="At most one job holds it: while it is active.")] = None,
    unique_state: UniqueStates = None,
    unique_period: UniquePeriod = None,
    on_conflict: Conflict = None,
    limit: Annotated[list[str] | None, typer.Option(metavar="KEY", help="A limit's key; may be repeated.")] = None,
    fair_key: Annotated[str | None, typer.Option(help="Jobs with different ones take turns.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    after: Parents = None,
    on_parent_failure: OnParentFailure = None,
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
    options |= {"unique_states": unique_state, "unique_period": unique_period, "on_conflict": on_conflict}
    options |= {"idempotency_key": idempotency_key, "after": after, "on_parent_failure": on_parent_failure}
    options |= {"limits": limit, "fair_key": fair_key}
    _submit(task, arguments, options, wait, wait_timeout, as_json, arg or ())


def _submit(
    task: str,
    arguments: Mapping[str, Any],
    options: Mapping[str, Any],
    wait: bool,
    wait_timeout: float | None,
    as_json: bool,
    pairs: Sequence[str],
) -> None:
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    with api() as client:
        with _hinting(pairs):
            job = client.submit(task, arguments, **given)
        if job.conflict is not None:
            note(f"job {job.id} held the unique key: {_DONE.get(job.conflict, job.conflict)}")
        if as_json and not wait:
            write_json(job.model_dump(mode="json"))
        elif not as_json:
            # At once, so that it is not lost if the wait is broken off.
            write_line(job.id)
        if wait:
            note(f"waiting for job {job.id}")
            report_end(client.wait(job.id, wait_timeout), as_json=as_json)


@contextmanager
def _hinting(pairs: Sequence[str]) -> Iterator[None]:
    """Says how to write text that reads as JSON, where the API wanted a string and got what it reads as."""
    from steeple.client import InvalidRequest

    try:
        yield
    except InvalidRequest as error:
        wanted = {fault.pointer for fault in error.errors if _WANTS_TEXT.search(fault.detail)}
        hints = [hint for pair in pairs if (hint := _hint(pair, wanted)) is not None]
        fault = explain(error)
        if not hints or fault is None:
            raise
        raise CommandFailed("; ".join((fault.message, *hints)), fault.code) from error


def _hint(pair: str, wanted: Set[str]) -> str | None:
    name, _, value = pair.partition("=")
    at = "/args/" + name.replace("~", "~0").replace("/", "~1")
    if at not in wanted or isinstance(values.json_or_text(value), str):
        return None
    return f"{name} was read as JSON; as text it is --arg {shlex.quote(name)}={shlex.quote(json.dumps(value))}"

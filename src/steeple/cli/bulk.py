"""``steeple jobs cancel`` and its like: on jobs that are named by id, or on all that match a filter.

With a filter an operation is made, after a look at how many jobs it would cover, and watched to its end.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from steeple.cli.exits import ExitCode
from steeple.cli.filters import filtered
from steeple.cli.jobs import AsJson, api, for_each
from steeple.cli.operation_progress import tell_end, watch
from steeple.cli.output import note, write_json, write_line, write_table
from steeple.domain.operation import Action
from steeple.domain.priority import Priority

if TYPE_CHECKING:
    from steeple.client import Client, OperationPreview

_COLUMNS = ("id", "state", "task", "queue", "priority", "created_at")

JobIds = Annotated[list[UUID] | None, typer.Argument(metavar="ID...", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Every job there is, without a filter.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count the jobs that match, and list some.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Print the operation's id and leave.")]

Filters = Mapping[str, Any]


@dataclass(frozen=True)
class Manner:
    """How a command goes about an operation."""

    everything: bool
    yes: bool
    dry_run: bool
    no_wait: bool
    as_json: bool


def add_to(app: typer.Typer) -> None:
    for command in (cancel, retry, delete, reprioritise, move):
        app.command()(filtered(command))


def cancel(
    filters: Filters,
    job_ids: JobIds = None,
    everything: All = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Cancel jobs, by id or all that match; those that run are told to stop. Prints id and state, or an operation."""
    _by_id_or_filter(Action.CANCEL, job_ids, filters, Manner(everything, yes, dry_run, no_wait, as_json))


def retry(
    filters: Filters,
    job_ids: JobIds = None,
    everything: All = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Run jobs that have ended once more, by id or all that match. Prints id and state, or an operation."""
    _by_id_or_filter(Action.RETRY, job_ids, filters, Manner(everything, yes, dry_run, no_wait, as_json))


def delete(
    filters: Filters,
    everything: All = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Delete jobs that match, but for those that run, with attempts and log lines. Needs a key with scope admin."""
    _by_filter(Action.DELETE, filters, Manner(everything, yes, dry_run, no_wait, as_json))


def reprioritise(
    filters: Filters,
    to: Annotated[Priority, typer.Option(help="Their new priority.")],
    everything: All = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Give pending jobs that match another priority."""
    manner = Manner(everything, yes, dry_run, no_wait, as_json)
    _by_filter(Action.REPRIORITISE, filters, manner, {"priority": to.value})


def move(
    filters: Filters,
    to: Annotated[str, typer.Option(metavar="QUEUE", help="Where they go.")],
    everything: All = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Move pending jobs that match to another queue."""
    _by_filter(Action.MOVE, filters, Manner(everything, yes, dry_run, no_wait, as_json), {"queue": to})


def _by_id_or_filter(action: Action, job_ids: list[UUID] | None, filters: Filters, manner: Manner) -> None:
    if not job_ids:
        _by_filter(action, filters, manner)
        return
    if filters or manner.everything or manner.dry_run:
        raise typer.BadParameter("name jobs by their ids or by a filter, not both; --dry-run goes with a filter")
    with api() as client:
        for_each(job_ids, client.cancel if action is Action.CANCEL else client.retry)


def _by_filter(action: Action, filters: Filters, manner: Manner, changes: Mapping[str, str] | None = None) -> None:
    if not filters and not manner.everything:
        raise typer.BadParameter("say which jobs, with a filter such as --task; every job there is: --all")
    given = {"changes": changes, "everything": manner.everything, **filters}
    with api() as client:
        found = client.preview(action.value, **given)
        if manner.dry_run:
            _show(found, as_json=manner.as_json)
        elif found.is_exact and not found.count:
            note("no job matches")
        else:
            if not manner.yes:
                _require_consent(action, found)
            _run(client, action, given, manner)


def _run(client: "Client", action: Action, given: Mapping[str, Any], manner: Manner) -> None:
    operation = client.operate(action.value, **given)
    if not manner.as_json:
        # At once, so that it is not lost if the wait is broken off.
        write_line(operation.id)
    if not manner.no_wait:
        operation = watch(client, operation)
        tell_end(operation)
    if manner.as_json:
        write_json(operation.model_dump(mode="json"))


def _show(found: "OperationPreview", *, as_json: bool) -> None:
    if as_json:
        write_json(found.model_dump(mode="json"))
        return
    write_table(_COLUMNS, [[getattr(job, column) for column in _COLUMNS] for job in found.sample])
    note(f"{_jobs(found)} {'matches' if found.count == 1 else 'match'}; nothing was done")


def _require_consent(action: Action, found: "OperationPreview") -> None:
    """Leaves where nobody agrees."""
    if not _can_ask():
        raise typer.BadParameter(f"{_jobs(found)} would be covered: nobody is there to ask, so say --yes")
    if not typer.confirm(f"{action.value} {_jobs(found)}?", err=True):
        note("nothing was done")
        raise typer.Exit(ExitCode.FAILED)


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _jobs(found: "OperationPreview") -> str:
    number = f"{found.count:,}" if found.is_exact else f"at least {found.count:,}"
    return f"{number} job" if found.count == 1 else f"{number} jobs"

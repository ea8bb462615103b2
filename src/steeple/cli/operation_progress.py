"""Watches an operation to its end, with a bar on a terminal, and says what became of it."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from steeple.cli.output import note
from steeple.domain.operation import Action, OperationState

if TYPE_CHECKING:
    from steeple.client import Client, Operation

_PAUSE_SECONDS = 0.2

_DONE = {
    Action.CANCEL.value: "cancelled",
    Action.RETRY.value: "started again",
    Action.DELETE.value: "deleted",
    Action.REPRIORITISE.value: "reprioritised",
    Action.MOVE.value: "moved",
}


def watch(client: "Client", operation: "Operation", timeout: float | None = None) -> "Operation":
    """The operation when it is over. Raises ``OperationTimeout`` after ``timeout`` seconds."""
    from steeple.client import OperationTimeout

    until = None if timeout is None else time.monotonic() + timeout
    try:
        with _shown(operation) as show:
            while not operation.is_finished:
                if until is not None and time.monotonic() >= until:
                    raise OperationTimeout(operation, timeout or 0.0)
                time.sleep(_PAUSE_SECONDS)
                operation = client.operation(operation.id)
                show(operation)
    except KeyboardInterrupt:
        note(f"it goes on; to stop it: steeple operations abort {operation.id}")
        raise
    return operation


def tell_end(operation: "Operation") -> None:
    """What was done and what was not, a line for each reason."""
    end = ", aborted" if operation.state == OperationState.ABORTED else ""
    note(f"{operation.done:,} {_DONE.get(operation.action, 'done')}, {operation.skipped:,} skipped{end}")
    for each in operation.reasons:
        note(f"  {each.jobs:,}: {each.reason}")


@contextmanager
def _shown(operation: "Operation") -> "Iterator[Callable[[Operation], None]]":
    """A bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(operation.action, total=operation.total)
        yield lambda seen: bar.update(task, completed=seen.done + seen.skipped, total=seen.total)

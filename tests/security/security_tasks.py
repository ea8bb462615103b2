"""The tasks of the workers under test: one that succeeds, one that fails, one that waits to be cancelled."""

import time
from typing import Any

from steeple import Context, Retry, Steeple

app = Steeple()

_TWICE = Retry(max_attempts=2, initial=0.05, cap=0.1)

OWN_WORDS = "what the task itself says"


@app.task("security.echo")
def echo(value: Any = None) -> Any:
    return value


@app.task("security.fail", retry=_TWICE)
def fail() -> None:
    raise ValueError(OWN_WORDS)


@app.task("security.flaky", retry=_TWICE)
def flaky(context: Context) -> int:
    if context.attempt == 1:
        raise ValueError(OWN_WORDS)
    return context.attempt


@app.task("security.wait")
def wait(context: Context) -> None:
    """Until it is stopped."""
    context.log("waits", since=context.attempt)
    while True:
        time.sleep(0.05)

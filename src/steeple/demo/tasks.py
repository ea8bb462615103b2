"""The demo tasks: small ones to try Steeple with, among them some that fail, crash or will not stop."""

import asyncio
import math
import os
import signal
import time
from typing import Annotated, Any

from pydantic import Field

from steeple import Cancelled, Context, Retry, Steeple
from steeple.demo import weather

app = Steeple()

Seconds = Annotated[float, Field(ge=0, le=86400.0)]

_SOON = Retry(initial=0.2, cap=2.0)
"""For tasks that are here to fail: nobody wants to wait long for that."""

_STEP_SECONDS = 0.25


@app.task("demo.noop")
def noop() -> None:
    """Do nothing."""


@app.task("demo.echo")
def echo(value: Any) -> Any:
    """Give ``value`` back."""
    return value


@app.task("demo.add")
def add(a: int, b: int) -> int:
    """The sum of two whole numbers."""
    return a + b


@app.task("demo.sleep")
def sleep(seconds: Seconds, context: Context) -> dict[str, float]:
    """Sleep in short steps and say how far it is."""
    steps = max(1, math.ceil(seconds / _STEP_SECONDS))
    for step in range(1, steps + 1):
        if context.cancelled:
            raise Cancelled
        time.sleep(seconds / steps)
        context.progress(step / steps, f"{seconds * step / steps:.1f} of {seconds:g} s")
    return {"slept": seconds}


@app.task("demo.wait")
async def wait(seconds: Seconds) -> dict[str, float]:
    """Wait without holding a thread."""
    await asyncio.sleep(seconds)
    return {"waited": seconds}


@app.task("demo.fail", retry=_SOON)
def fail(message: str) -> None:
    """Fail with ``message``, at every attempt."""
    raise RuntimeError(message)


@app.task("demo.flaky", retry=_SOON)
def flaky(failures: Annotated[int, Field(ge=0, le=1000)], context: Context) -> int:
    """Fail at the first ``failures`` attempts, then give the attempt's number back."""
    if context.attempt <= failures:
        raise RuntimeError(f"attempt {context.attempt} fails, as the first {failures} do")
    return context.attempt


@app.task("demo.crash", retry=_SOON)
def crash() -> None:
    """Kill the process that runs it, as the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("demo.stubborn")
def stubborn(seconds: Seconds) -> dict[str, int]:
    """Sleep, and go on sleeping when asked to stop. Never do this: it is here to show what becomes of such a task."""
    until = time.monotonic() + seconds
    requests = 0
    while True:
        try:
            while (left := until - time.monotonic()) > 0:
                time.sleep(left)
            return {"requests_ignored": requests}
        except Cancelled:
            requests += 1


@app.task("demo.weather", timeout=60.0)
def report_weather(context: Context) -> dict[str, Any]:
    """A usual year in Seattle, month by month, from NOAA's daily records of 2012 to 2015."""
    days = weather.read_days()
    context.log("table read", days=len(days))
    months = []
    for number, name in enumerate(weather.MONTHS, 1):
        months.append(weather.summarise(name, [day for day in days if day.month == number]))
        context.progress(number / 12, f"{name}: {months[-1]['rain_mm']} mm of rain")
        time.sleep(weather.PAUSE_SECONDS)
    return {"place": "Seattle", "source": weather.SOURCE, "days": len(days), "months": months}

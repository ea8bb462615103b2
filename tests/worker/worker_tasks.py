"""The tasks of the workers under test. Each test's files are in the directory that the job names."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from steeple import Cancelled, Context, Reject, Retry, RetryIn, Steeple

app = Steeple()


@app.task("echo")
def echo(value: Any = None) -> Any:
    return value


@app.task("note")
def note(path: str, text: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


@app.task("nap")
def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "rested"


@app.task("steps")
def steps(count: int, context: Context) -> int:
    for number in range(count):
        context.progress(number / count, f"step {number}")
        context.log("step", number=number)
        time.sleep(0.02)
    return count


@app.task("until_cancelled")
def until_cancelled(path: str, context: Context) -> None:
    """Tells in a file what happened to it, in which order."""
    try:
        while True:
            time.sleep(0.01)
    except Cancelled as stop:
        Path(path).write_text(f"{type(stop).__name__} cancelled={context.cancelled}")
        raise


@app.task("until_cancelled_async")
async def until_cancelled_async(path: str) -> None:
    try:
        await asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))
    except Cancelled as stop:
        Path(path).write_text(type(stop).__name__)  # noqa: ASYNC240 - the task is over
        raise


@app.task("deaf")
def deaf(seconds: float) -> str:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    time.sleep(seconds)
    return "never stopped"


@app.task("fail", retry=Retry(max_attempts=3, initial=0.05, cap=0.1))
def fail(message: str = "no luck") -> None:
    raise ValueError(message)


@app.task("reject")
def reject() -> None:
    raise Reject("not this one")


@app.task("retry_in", retry=Retry(max_attempts=3, initial=600.0))
def retry_in(context: Context) -> int:
    if context.attempt < 3:
        raise RetryIn(0.05, "a moment")
    return context.attempt


@app.task("leave")
def leave() -> None:
    sys.exit("not the slot's business")


@app.task("crash")
def crash(times: int, context: Context) -> int:
    if context.attempt <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return context.attempt


@app.task("spawn")
def spawn(path: str) -> None:
    """Leaves a child behind that only a signal ends, and goes on."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    Path(path).write_text(str(child.pid))
    signal.pause()


@app.task("leave_behind")
def leave_behind(path: str) -> None:
    """Leaves a child behind that only a signal ends."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    Path(path).write_text(str(child.pid))


@app.task("give")
def give(what: str) -> Any:
    return {"nan": float("nan"), "object": object(), "big": "x" * 300_000, "surrogate": "\ud800", "nul": "a\0b"}[what]


@app.task("doze")
async def doze(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@app.task("block_async")
async def block_async(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - as a careless task does


@app.task("crash_async")
async def crash_async() -> None:
    """Kills its slot, after a moment in which others start beside it."""
    await asyncio.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("give_lazily", retry=Retry(max_attempts=2, initial=0.05))
def give_lazily() -> Any:
    """Its result fails only when it is looked at."""
    return (1 // zero for zero in [0])


@app.task("give_lazily_async", retry=Retry(max_attempts=2, initial=0.05))
async def give_lazily_async() -> Any:
    return (1 // zero for zero in [0])

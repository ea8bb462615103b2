"""Tasks for tests of faults: every run leaves a trace that survives whatever kills it, and its outcome names its claim.

Each task takes ``effects``, the path of the file to which it appends one line when it begins and one when it ends, each
in one write and synced. A line has the job's id, the attempt, the fence, the process, the moment (``CLOCK_MONOTONIC``,
which all processes of a machine share; tests that fake clocks start processes with ``DONT_FAKE_MONOTONIC=1``), and
whether it began or ended. A task gives back ``{"fence": …}``, or fails with ``fence=…`` in its message.

Run a worker with ``fault_tasks:app`` from this folder. Each run may also wait for a file to appear, ``until``.
"""

import asyncio
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from history import Effect

from steeple import Context, Reject, Retry, Steeple

app = Steeple()

_QUICK = Retry(max_attempts=3, initial=0.05, cap=0.5)
_POLL_SECONDS = 0.01


def append(path: str | Path, context: Context, what: str, **facts: object) -> None:
    """One line, whole or not at all, on the disk when this returns."""
    line = {"job": str(context.job_id), "attempt": context.attempt, "fence": context.fence, "pid": os.getpid()}
    line |= {"moment": time.monotonic(), "what": what} | facts
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def effect(path: str | Path, context: Context) -> Iterator[dict[str, Any]]:
    """Around a run: its two lines. Yields what the task should give back."""
    append(path, context, "began")
    try:
        yield {"fence": context.fence}
    finally:
        append(path, context, "ended")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read_effects(path: Path) -> tuple[Effect, ...]:
    """The runs of a file, in the order in which they began."""
    epoch = datetime.now(UTC) - timedelta(seconds=time.monotonic())
    found: list[Effect] = []
    under_way: dict[tuple[object, ...], int] = {}
    for line in read_lines(path):
        run = (line["job"], line["fence"], line["attempt"], line["pid"])
        at = epoch + timedelta(seconds=line["moment"])
        if line["what"] == "began":
            under_way[run] = len(found)
            found.append(Effect(UUID(line["job"]), line["attempt"], line["fence"], line["pid"], at))
        elif line["what"] == "ended":
            place = under_way.pop(run)
            found[place] = replace(found[place], ended_at=at)
    return tuple(found)


def named_fence(result: object, error: object) -> int | None:
    """The fence that a recorded result or error names."""
    if isinstance(result, dict) and isinstance(result.get("fence"), int):
        return int(result["fence"])
    message = error.get("message") if isinstance(error, dict) else None
    found = re.search(r"\bfence=(\d+)", message) if isinstance(message, str) else None
    return int(found[1]) if found else None


@app.task("fault.work", retry=_QUICK)
def work(effects: str, context: Context, seconds: float = 0.0, until: str | None = None) -> dict[str, Any]:
    """Takes a while, in steps that a soft signal can end."""
    with effect(effects, context) as done:
        finish_at = time.monotonic() + seconds
        while time.monotonic() < finish_at or (until is not None and not Path(until).exists()):
            time.sleep(_POLL_SECONDS)
        return done


@app.task("fault.wait", retry=_QUICK)
async def wait(effects: str, context: Context, seconds: float = 0.0) -> dict[str, Any]:
    with effect(effects, context) as done:
        await asyncio.sleep(seconds)
        return done


@app.task("fault.sleep", retry=_QUICK)
def sleep(effects: str, context: Context, seconds: float) -> dict[str, Any]:
    """In one single call."""
    with effect(effects, context) as done:
        time.sleep(seconds)
        return done


@app.task("fault.flaky", retry=_QUICK)
def flaky(effects: str, context: Context, failures: int) -> dict[str, Any]:
    """Fails so many attempts."""
    with effect(effects, context) as done:
        if context.attempt <= failures:
            raise ValueError(f"attempt {context.attempt} failed, fence={context.fence}")
        return done


@app.task("fault.reject")
def reject(effects: str, context: Context) -> None:
    with effect(effects, context):
        raise Reject(f"not this one, fence={context.fence}")


@app.task("fault.crash", retry=Retry(max_attempts=10, initial=0.05, cap=0.5))
def crash(effects: str, context: Context, times: int, seconds: float = 0.0) -> dict[str, Any]:
    """Kills its own process in so many attempts, after a while."""
    with effect(effects, context) as done:
        time.sleep(seconds)
        if context.attempt <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


@app.task("fault.hog", retry=_QUICK)
def hog(effects: str, context: Context) -> dict[str, Any]:
    """Holds the interpreter's lock in a call of C that no signal interrupts: it locks a mutex twice, for ever."""
    with effect(effects, context) as done:
        mutex = ctypes.create_string_buffer(128)  # all zero: PTHREAD_MUTEX_INITIALIZER
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
        return done


@app.task("fault.deaf", retry=_QUICK)
def deaf(effects: str, context: Context, seconds: float) -> dict[str, Any]:
    """Masks every signal that can be masked."""
    with effect(effects, context) as done:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        time.sleep(seconds)
        return done


@app.task("fault.spawn", retry=_QUICK)
def spawn(effects: str, context: Context, seconds: float) -> dict[str, Any]:
    """Has a child that has a child, neither of which ends by itself; their ids are in lines of their own."""
    grandchild = "import signal; signal.pause()"
    child = (
        f"import subprocess, sys, signal; c = subprocess.Popen([sys.executable, '-c', '{grandchild}']);"
        "print(c.pid, flush=True); signal.pause()"
    )
    with effect(effects, context) as done:
        process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        append(effects, context, "spawned", pids=[process.pid, int(process.stdout.readline())])
        time.sleep(seconds)
        return done


@app.task("fault.eat", retry=_QUICK)
def eat(effects: str, context: Context, megabytes: int, seconds: float = 0.0) -> dict[str, Any]:
    """Takes memory and touches it."""
    with effect(effects, context) as done:
        eaten = [b"x" * (1 << 20) for _ in range(megabytes)]
        time.sleep(seconds)
        return done | {"megabytes": len(eaten)}

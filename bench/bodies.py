"""The bodies of the tasks, the same for every contestant. Standard library only, as in ``sheet``."""

import asyncio
import os
import time
from functools import cache

from bench.sheet import Sheet


@cache
def sheet() -> Sheet:
    """That of this run. Opened once; processes that are forked share it."""
    return Sheet(os.environ["BENCH_SHEET"])


def noop(number: int) -> dict[str, int]:
    """Nothing but a note that it ran."""
    notes = sheet()
    notes.begin(number)
    notes.end(number)
    return {"number": number}


def sleep(number: int, seconds: float) -> dict[str, int]:
    """Hold the slot without using the processor."""
    notes = sheet()
    notes.begin(number)
    time.sleep(seconds)
    notes.end(number)
    return {"number": number}


def compute(number: int, seconds: float) -> dict[str, int]:
    """Use the processor for so many seconds of it, not of the clock: two threads do not compute in the time of one."""
    notes = sheet()
    notes.begin(number)
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    notes.end(number)
    return {"number": number}


async def wait(number: int, seconds: float) -> dict[str, int]:
    """Wait as a coroutine does: others can run meanwhile."""
    notes = sheet()
    notes.begin(number)
    await asyncio.sleep(seconds)
    notes.end(number)
    return {"number": number}

"""What contestants built on asyncio share. No contestant by itself."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from bench import bodies


@cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """In the one event loop of this process, whose connections stay open from call to call."""
    return _runner().run(coroutine)


@cache
def _thread() -> ThreadPoolExecutor:
    """A single one: a process is one slot for tasks that block."""
    return ThreadPoolExecutor(1)


async def noop(number: int) -> dict[str, int]:
    return bodies.noop(number)


async def sleep(number: int, seconds: float) -> dict[str, int]:
    return await _beside_the_loop(bodies.sleep, number, seconds)


async def compute(number: int, seconds: float) -> dict[str, int]:
    return await _beside_the_loop(bodies.compute, number, seconds)


async def _beside_the_loop(body: Callable[[int, float], dict[str, int]], number: int, seconds: float) -> dict[str, int]:
    """As the documentation of each asks of code that blocks."""
    return await asyncio.get_running_loop().run_in_executor(_thread(), body, number, seconds)

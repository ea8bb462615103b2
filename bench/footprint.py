"""What processes cost: processor time and memory, each with all that it started."""

from collections.abc import Iterable

import psutil


def processor_seconds(pids: Iterable[int]) -> float:
    """What they and their descendants that are alive have used until now."""
    times = [process.cpu_times() for process in _families(pids)]
    return float(sum(each.user + each.system for each in times))


def megabytes(pids: Iterable[int]) -> float:
    """Memory of all of them, in which a page that several share is counted once (PSS)."""
    return sum(_megabytes(process) for process in _families(pids))


def megabytes_of_children(pid: int) -> dict[int, float]:
    """The same of each child, by its process id."""
    return {child.pid: _megabytes(child) for child in psutil.Process(pid).children()}


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / 1e6


def _families(pids: Iterable[int]) -> list[psutil.Process]:
    heads = [psutil.Process(pid) for pid in pids]
    return [*heads, *(child for head in heads for child in head.children(recursive=True))]

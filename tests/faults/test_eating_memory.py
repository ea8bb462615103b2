"""A task that takes all the memory there is: killed by the kernel, or refused more by a limit."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from stage import Stage

_MEGABYTE = 1 << 20
_ALLOWED = 250
_WANTED = 600

_GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)
"""Where control groups may be made, and the name of their limit: version 1, version 2."""


@pytest.mark.soak
def test_killed_by_the_kernel(stage: Stage) -> None:
    with stage.load(), memory_group() as group:
        for worker in stage.fleet.workers:
            for pid in (worker.pid, *worker.children()):
                _move(pid, group)
        job = stage.wait_ended(stage.submit("fault.eat", {"megabytes": _WANTED}, priority="high"))
    assert (job["state"], job["error"]["reason"], job["crashes"]) == ("FAILED", "crash", 3)


@pytest.mark.soak
def test_refused_by_a_limit(stage: Stage) -> None:
    """The task is told, and its slot lives on."""
    with stage.load():
        slots = [slot for worker in stage.fleet.workers for slot in worker.children()]
        for slot in slots:
            limit = psutil.Process(slot).memory_info().vms + _ALLOWED * _MEGABYTE
            resource.prlimit(slot, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        job = stage.wait_ended(stage.submit("fault.eat", {"megabytes": _WANTED}, priority="high"))
        for slot in filter(psutil.pid_exists, slots):
            resource.prlimit(slot, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (job["state"], job["error"]["type"], job["crashes"]) == ("FAILED", "MemoryError", 0)


@contextmanager
def memory_group() -> Iterator[Path]:
    """A control group whose members may take no more together."""
    if os.geteuid() != 0:
        pytest.skip("test_killed_by_the_kernel: a control group for memory takes root")
    parent, name = next((each for each in _GROUPS if (each[0] / "cgroup.procs").exists()), (None, ""))
    if parent is None:
        pytest.skip("test_killed_by_the_kernel: no control groups for memory are mounted here")
    group = parent / f"steeple-test-{os.getpid()}"
    group.mkdir()
    try:
        limit = group / name
        if not limit.exists():
            pytest.skip(f"test_killed_by_the_kernel: control groups have no {name} here")
        limit.write_text(str(_ALLOWED * _MEGABYTE))
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            _move(int(pid), parent)
        group.rmdir()


def _move(pid: int, group: Path) -> None:
    with suppress(ProcessLookupError):  # it was killed just now
        (group / "cgroup.procs").write_text(str(pid))

"""Ends what a stopped task left running: processes of the slot's group that began after it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MARGIN_SECONDS = 0.05
"""The kernel tells when a process began in hundredths of a second."""


def end_leftovers(began: float) -> int:
    """SIGKILL for those that began after ``began``, seconds of the monotonic clock; returns how many there were.

    None if the group is not our own: others in it are nobody's leftovers.
    """
    if os.getpgid(0) != os.getpid():
        return 0
    age = time.monotonic() - began + _MARGIN_SECONDS
    left = [pid for pid, each in _others_of_our_group() if each <= age]
    for pid in left:
        with suppress(OSError):  # it ended just now, or became somebody else's
            os.kill(pid, signal.SIGKILL)
    return len(left)


def _others_of_our_group() -> Iterator[tuple[int, float]]:
    """The process ids, and how many seconds ago each began."""
    group = os.getpgid(0)
    found = _read_proc() if sys.platform == "linux" else _ask_ps()
    return ((pid, age) for pid, of, age in found if of == group and pid != os.getpid())


def _read_proc() -> Iterator[tuple[int, int, float]]:
    """Every process, its group and its age: proc_pid_stat(5), the 5th and the 22nd field."""
    now, ticks = time.clock_gettime(time.CLOCK_BOOTTIME), os.sysconf("SC_CLK_TCK")
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended just now, or is none that we may look at
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            yield int(folder.name), int(fields[2]), now - int(fields[19]) / ticks


def _ask_ps() -> Iterator[tuple[int, int, float]]:
    """The same where there is no /proc. An age is [[days-]hours:]minutes:seconds there."""
    command = ["/bin/ps", "-A", "-o", "pid=,pgid=,etime="]
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():  # noqa: S603
        pid, group, age = line.split()
        days, _, clock = age.rpartition("-")
        hours, minutes, seconds = (["0", "0", *clock.split(":")])[-3:]
        yield int(pid), int(group), ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)

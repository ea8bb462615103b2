"""Where a contestant finds the servers, and its own programs. Standard library only, as in ``sheet``."""

import os
import sys
from pathlib import Path


def database() -> str:
    """A libpq URL of an empty database, reached by a Unix socket."""
    return os.environ["BENCH_DATABASE"]


def broker() -> str:
    """A Redis URL of an empty server, reached by TCP on this machine."""
    return os.environ["BENCH_BROKER"]


def port() -> int:
    """A TCP port on this machine that is free for a contestant's own server."""
    return int(os.environ["BENCH_PORT"])


def program(name: str) -> str:
    """A command of this virtual environment."""
    return str(Path(sys.executable).with_name(name))

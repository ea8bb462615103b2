"""A whole installation for tests that need no more of it than its URL: api, scheduler, a worker with the demo tasks."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from steeple.embedded.processes import wait_until

_APP = "steeple.demo.tasks:app"
_PATIENCE = 60.0


@contextmanager
def installation(folder: Path, database_url: str, broker_url: str) -> Iterator[str]:
    """Its URL, for the length of the block. What the parts say is in ``folder``."""
    port = _free_port()
    own = {"STEEPLE_DATABASE_URL": database_url, "STEEPLE_BROKER_URL": broker_url, "STEEPLE_PORT": str(port)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STEEPLE_")}
    parts = (["api", _APP], ["scheduler"], ["worker", _APP, "--slots", "1"])
    processes = [_start(part, folder, inherited | own) for part in parts]
    url = f"http://127.0.0.1:{port}"
    try:
        assert wait_until(lambda: _has_worker(url), _PATIENCE), _said(folder)
        yield url
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(_PATIENCE)


def _start(part: list[str], folder: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "steeple", *part]
    with (folder / f"{part[0]}.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _has_worker(url: str) -> bool:
    try:
        return bool(httpx2.get(f"{url}/v1/workers", trust_env=False).json()["workers"])
    except httpx2.TransportError:
        return False


def _said(folder: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in folder.glob("*.log"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])

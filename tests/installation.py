"""A whole installation for tests that need no more of it than its URL: api, scheduler, a worker with the demo tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from parts import Part, free_port
from steeple.embedded.processes import wait_until

_APP = "steeple.demo.tasks:app"
_PATIENCE = 60.0


@contextmanager
def installation(folder: Path, database_url: str, broker_url: str) -> Iterator[str]:
    """Its URL, for the length of the block. What the parts say is in ``folder``."""
    port = free_port()
    own = {"STEEPLE_DATABASE_URL": database_url, "STEEPLE_BROKER_URL": broker_url, "STEEPLE_PORT": str(port)}
    every = (["api", _APP], ["scheduler"], ["worker", _APP, "--slots", "1"])
    parts = [Part(words, folder / f"{words[0]}.log", own) for words in every]
    url = f"http://127.0.0.1:{port}"
    try:
        assert wait_until(lambda: _has_worker(url), _PATIENCE), _said(folder)
        yield url
    finally:
        for part in parts:
            part.process.terminate()
        for part in parts:
            part.process.wait(_PATIENCE)


def _has_worker(url: str) -> bool:
    try:
        return bool(httpx2.get(f"{url}/v1/workers", trust_env=False).json()["workers"])
    except httpx2.TransportError:
        return False


def _said(folder: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in folder.glob("*.log"))

"""Steeple as programs elsewhere use it: each job submitted over HTTP, by Steeple's own client, to an API process."""

import sys
from collections.abc import Sequence
from functools import cache
from time import monotonic, sleep
from typing import Any

from bench import places
from bench.contestants import steeple
from steeple import Client
from steeple.client.errors import TransportError

DISTRIBUTIONS = (*steeple.DISTRIBUTIONS, "fastapi", "uvicorn", "httpx2")
RECORD = steeple.RECORD
SETTINGS = "defaults, 1 api, 2 slots; steeple.Client"
ROUGH_RATE = 500

_START_SECONDS = 60.0

prepare = steeple.prepare
finished = steeple.finished


def enqueue(task: str, arguments: Sequence[dict[str, Any]]) -> None:
    for each in arguments:
        _client().submit(task, each)


@cache
def _client() -> Client:
    """Once the API answers."""
    client = Client(f"http://127.0.0.1:{places.port()}")
    deadline = monotonic() + _START_SECONDS
    while True:
        try:
            next(client.jobs(limit=1), None)
        except TransportError:
            if monotonic() > deadline:
                raise
            sleep(0.1)
        else:
            return client


def workers(workload: str) -> list[list[str]]:
    api = [sys.executable, "-m", "steeple", "api", f"{steeple.__name__}:app", "--port", str(places.port())]
    return [api, *steeple.workers(workload)]

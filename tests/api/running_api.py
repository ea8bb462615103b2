"""The API as a real server in a thread of the test's process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx2
from fastapi import FastAPI

from steeple import Settings, Steeple
from steeple.api.app import create_app
from steeple.api.serve import listen, prepare
from steeple.api.server import Server
from steeple.api.services import Services

NOBODY = "019ab4c2-7d1e-7a30-8f4e-2b6c1d9e0a57"
"""An id that no job has."""

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Api:
    """``http`` is a client of it; ``services`` are those that it works with."""

    url: str
    http: httpx2.Client
    services: Services
    server: Server

    def submit(self, task: str = "add", args: Any = None, **options: Any) -> httpx2.Response:
        body = {"task": task, "args": {"a": 1, "b": 2} if args is None else args} | options
        return self.http.post("/v1/jobs", json=body)

    def post(self, body: str | bytes, path: str = "/v1/jobs", **headers: str) -> httpx2.Response:
        return self.http.post(path, content=body, headers=JSON | headers)

    def job(self, job_id: object) -> dict[str, Any]:
        reply = self.http.get(f"/v1/jobs/{job_id}")
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found


def make_app(settings: Settings) -> Steeple:
    app = Steeple(settings)

    @app.task("add")
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @app.task("echo", queue="echoes", priority="low", timeout=7.5)
    def echo(value: Any) -> Any:
        return value

    @app.task("when")
    def when(day: date) -> str:
        return day.isoformat()

    @app.task("anything")
    def anything(**values: Any) -> None:
        """Takes whatever it is given."""

    return app


@contextmanager
def running(settings: Settings, app: Steeple | None = None) -> Iterator[Api]:
    """A server with all that is done before it listens, for the length of the block."""
    prepare(app, settings)
    with serving(create_app(app, settings)) as api:
        yield api


@contextmanager
def serving(asgi: FastAPI) -> Iterator[Api]:
    """A server for the length of the block."""
    (listening,) = listen("127.0.0.1", 0)
    server = Server(asgi, asgi.state.services)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with httpx2.Client(base_url=url, timeout=30) as http:
            yield Api(url, http, asgi.state.services, server)
    finally:
        server.should_exit = True
        thread.join()


def pointers(reply: httpx2.Response) -> list[str]:
    """Where a refused request is at fault."""
    return [fault["pointer"] for fault in reply.json()["errors"]]


def kind(reply: httpx2.Response) -> tuple[int, str]:
    """The status of a refusal and the name of its type."""
    assert reply.headers["Content-Type"] == "application/problem+json"
    found = reply.json()
    assert found["status"] == reply.status_code
    assert found["request_id"] == reply.headers["X-Request-ID"]
    return reply.status_code, found["type"].removeprefix("/problems/")

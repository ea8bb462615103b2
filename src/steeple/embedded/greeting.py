"""Waits until a new installation answers, says so, and on a first start shows a demo job through to its end.

Runs in a thread beside the supervisor and talks to the api over HTTP, like any client.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
from rich.table import Table

from steeple.embedded.console import Console

_POLL = 0.1
_PATIENCE = 30.0
_DEMO_PATIENCE = 120.0
_DEMO_TASK = "demo.weather"
_TERMINAL = frozenset({"SUCCESS", "FAILED", "CANCELLED"})


@dataclass(frozen=True)
class Greeting:
    """Where the api is reached and what people are told. ``demo_marker`` is None if there is no demo to show."""

    url: str
    shown_url: str
    api_key: str | None
    demo_marker: Path | None


class Greeter(threading.Thread):
    """Ends by itself when all is said; ``closing`` ends it earlier. ``is_ready`` is set after the ready line."""

    def __init__(self, greeting: Greeting, console: Console) -> None:
        super().__init__(name="greeter", daemon=True)
        self.is_ready = threading.Event()
        self.closing = threading.Event()
        self._greeting = greeting
        self._console = console
        self._started_at = datetime.now(UTC)

    def run(self) -> None:
        key = self._greeting.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # The api is on this machine: a proxy of the environment's has no business here.
        with httpx2.Client(base_url=self._greeting.url, headers=headers, timeout=5.0, trust_env=False) as client:
            if self._wait(lambda: self._api_is_ready(client), "the api") and self._wait(
                lambda: self._has_worker(client), "a worker"
            ):
                self._console.ready(self._greeting.shown_url)
                self.is_ready.set()
                self._console.say(f"try the API at {self._greeting.shown_url}/docs; Ctrl-C stops everything")
                self._show_demo(client)

    def _wait(self, condition: Callable[[], bool], what: str) -> bool:
        """Poll until the condition holds or we are to close. True when it holds; complains now and then."""
        complain_at = monotonic() + _PATIENCE
        while not self.closing.is_set():
            if condition():
                return True
            if monotonic() > complain_at:
                self._console.warn(f"still waiting for {what}")
                complain_at = monotonic() + _PATIENCE
            self.closing.wait(_POLL)
        return False

    def _api_is_ready(self, client: httpx2.Client) -> bool:
        reply = _get(client, "/readyz")
        return reply is not None and reply.status_code == httpx2.codes.OK

    def _has_worker(self, client: httpx2.Client) -> bool:
        reply = _get(client, "/v1/workers")
        if reply is None:
            return False
        if reply.status_code in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
            self._console.warn("the api wants a key: set STEEPLE_API_KEY, so that `up` can see the worker")
            return True
        return reply.is_success and any(map(self._is_new, reply.json()["workers"]))

    def _is_new(self, worker: Mapping[str, Any]) -> bool:
        """A worker of an earlier run that was killed looks alive until its heartbeat is missed."""
        started_at = worker.get("started_at")
        return started_at is None or datetime.fromisoformat(started_at) >= self._started_at

    def _show_demo(self, client: httpx2.Client) -> None:
        marker = self._greeting.demo_marker
        if marker is None or marker.exists():
            return
        try:
            job = _submit_demo(client)
            marker.touch()
            self._follow(client, job)
        except (httpx2.HTTPError, KeyError, ValueError) as error:
            if not self.closing.is_set():
                self._console.warn(f"the demo job could not be shown: {error!r}")

    def _follow(self, client: httpx2.Client, job: dict[str, Any]) -> None:
        self._console.say(f"a first job, to show the way: {_DEMO_TASK}, id {job['id']}")
        deadline = monotonic() + _DEMO_PATIENCE
        shown = ""
        while not self.closing.is_set() and monotonic() < deadline:
            if _describe(job) != shown:
                shown = _describe(job)
                self._console.say(shown)
            if job["state"] in _TERMINAL:
                return self._conclude(job)
            self.closing.wait(_POLL)
            job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
        return None

    def _conclude(self, job: dict[str, Any]) -> None:
        if job["state"] != "SUCCESS":
            self._console.warn(f"{_DEMO_TASK} ended {job['state']}: {(job.get('error') or {}).get('message')}")
            return
        self._console.show(_as_table(job["result"]) or str(job["result"]))
        self._console.say(f"see it at {self._greeting.shown_url}/v1/jobs/{job['id']}")


def _get(client: httpx2.Client, path: str) -> httpx2.Response | None:
    """None while nobody listens yet."""
    try:
        return client.get(path)
    except httpx2.TransportError:
        return None


def _submit_demo(client: httpx2.Client) -> dict[str, Any]:
    reply = client.post("/v1/jobs", json={"task": _DEMO_TASK, "args": {}}).raise_for_status()
    job: dict[str, Any] = reply.json()
    return job


def _describe(job: Mapping[str, Any]) -> str:
    progress = job.get("progress")
    if job["state"] != "RUNNING" or progress is None:
        return f"  {job['state']}"
    if not isinstance(progress, Mapping):
        return f"  RUNNING  {progress}"
    numbers = [f"{value:.0%}" for value in progress.values() if isinstance(value, float | int)]
    texts = [value for value in progress.values() if isinstance(value, str)]
    return "  ".join(["  RUNNING", *numbers[:1], *texts[:1]])


def _as_table(result: Any) -> Table | None:
    """The first list of flat objects in the result, laid out; None if there is none."""
    candidates = [result, *result.values()] if isinstance(result, Mapping) else [result]
    rows = next((each for each in candidates if _are_rows(each)), None)
    if rows is None:
        return None
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in rows[0]))
    return table


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)

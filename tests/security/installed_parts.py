"""Parts of Steeple as processes of their own, on whatever database and broker they are told of."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from parts import Part, free_port
from steeple.embedded.processes import wait_until

PATIENCE = 60.0
APP = "security_tasks:app"

_QUICK = {
    "STEEPLE_HEARTBEAT_INTERVAL": "0.5",
    "STEEPLE_WORKER_DEAD_AFTER": "5",
    "STEEPLE_KILL_AFTER": "1",
    "STEEPLE_SHUTDOWN_GRACE": "1",
    "STEEPLE_UNKNOWN_TASK_GRACE": "0.1",
    "STEEPLE_LOG_LEVEL": "DEBUG",
}


class Parts:
    """Keep to the main thread for whatever starts a process."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {**_QUICK, "PYTHONPATH": str(Path(__file__).parent), **environment}
        self.parts: list[Part] = []
        self.apis: list[Api] = []

    def start(self, *words: str, **environment: str) -> Part:
        log = self.folder / f"{len(self.parts):02}-{words[0]}.log"
        self.parts.append(Part(words, log, self.environment | environment))
        return self.parts[-1]

    def start_all(self, **environment: str) -> "Api":
        """One of each; returns when all work."""
        port = free_port()
        self.start("api", "--port", str(port), **environment)
        self.start("scheduler", **environment)
        worker = self.start("worker", APP, "--slots", "2", **environment)
        api = Api(f"http://127.0.0.1:{port}", self.environment.get("STEEPLE_BOOTSTRAP_API_KEY"))
        self.apis.append(api)
        assert wait_until(lambda: api.is_ready() and len(worker.children()) == 2, PATIENCE), self.said
        return api

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """A command that ends by itself."""
        own = {name: value for name, value in self.environment.items() if name != "PATH"} | environment
        return subprocess.run(
            [sys.executable, "-m", "steeple", *words],
            env={"PATH": "/usr/bin:/bin", **own},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def close(self) -> None:
        for api in self.apis:
            api.close()
        for part in self.parts:
            part.kill()

    @property
    def said(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(self.folder.glob("*.log")))


@contextmanager
def installed(folder: Path, **environment: str) -> Iterator[Parts]:
    found = Parts(folder, **environment)
    try:
        yield found
    finally:
        found.close()


class Api:
    """Keeps the text of all that it was answered."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url
        self.replies: list[str] = []
        authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx2.Client(base_url=url, headers=authorization, trust_env=False, timeout=30.0)

    def close(self) -> None:
        self._http.close()

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        reply = self._http.request(method, path, **options)
        self.replies.append(f"{reply.headers}\n{reply.text}")
        return reply

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz").is_success
        except httpx2.TransportError:
            return False

    def submit(self, task: str, args: dict[str, Any] | None = None, **options: Any) -> str:
        reply = self.ask("POST", "/v1/jobs", json={"task": task, "args": args or {}} | options)
        assert reply.status_code == 202, reply.text
        return str(reply.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("GET", f"/v1/jobs/{job_id}").text)
        return found

    def until(self, job_id: str, *states: str) -> dict[str, Any]:
        assert wait_until(lambda: self.job(job_id)["state"] in states, PATIENCE), self.job(job_id)
        return self.job(job_id)

    def ended(self, job_id: str) -> dict[str, Any]:
        return self.until(job_id, "SUCCESS", "FAILED", "CANCELLED")

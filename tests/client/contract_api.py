"""A small API that answers as the contract says, with jobs in memory and no worker: for tests of client and CLI only.

A job without a delay ends 50 ms after its submit as its demo task would; one with a delay stays PENDING.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ENDS_AFTER = 0.05
TERMINAL = {"SUCCESS", "FAILED", "CANCELLED"}


class Refusal(Exception):
    def __init__(self, status: int, title: str, detail: str = "", **more: Any) -> None:
        self.status, self.headers = status, more.pop("headers", {})
        self.document = {"type": "about:blank", "title": title, "status": status, "detail": detail} | more


@dataclass
class Memory:
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    api_key: str | None = None
    refusals: list[Refusal] = field(default_factory=list)
    """Each is the answer to one call, before any call is served."""
    calls: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    queues: dict[str, dict[str, Any]] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    """By queue: how often it was looked at since it was paused."""

    def job(self, job_id: str) -> dict[str, Any]:
        if job_id not in self.jobs:
            raise Refusal(404, "Not Found", f"no job {job_id}")
        return self.at_present(self.jobs[job_id])

    def at_present(self, job: dict[str, Any]) -> dict[str, Any]:
        if job["state"] == "PENDING" and time.monotonic() >= job["_ends"]:
            job |= {"state": "SUCCESS", "attempt": 1, "started_at": now(), "finished_at": now()} | outcome(job)
        return job

    def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(body.get("task"), str) or not body["task"].startswith("demo."):
            fault = {"pointer": "/task", "detail": "no task of that name"}
            raise Refusal(422, "Invalid", "the request is not valid", errors=[fault])
        key = body.get("unique_key")
        held = [job["id"] for job in self.jobs.values() if key and job["unique_key"] == key]
        if held and body.get("on_conflict") == "existing":
            return self.jobs[held[0]]
        if held:
            raise Refusal(409, "Conflict", f"unique key {key!r} is held by job {held[0]}")
        job = new_job(body)
        self.jobs[job["id"]] = job
        return job

    def queue(self, name: str) -> dict[str, Any]:
        """Drained at the second look after a pause."""
        looks = self.looks[name] = self.looks.get(name, 0) + 1
        counts = {"PENDING": len(self.pending(name)), "RUNNING": 0}
        found = {"name": name, "paused": False, "counts": counts} | self.queues.get(name, {})
        return found | {"drained": found["paused"] and looks > 1}

    def change_queue(self, name: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
        if action == "purge":
            jobs = self.pending(name)
            for job in [] if body["dry_run"] else jobs:
                job |= {"state": "CANCELLED", "finished_at": now()}
            return {"dry_run": body["dry_run"], "count": len(jobs), "remaining": len(jobs) if body["dry_run"] else 0}
        self.looks[name] = 0
        is_paused = action != "resume"
        pause = {"paused": is_paused, "pause_note": body.get("note"), "paused_by": "anonymous" if is_paused else None}
        self.queues.setdefault(name, {}).update(pause)
        return self.queue(name)

    def pending(self, queue: str) -> list[dict[str, Any]]:
        return [job for job in self.jobs.values() if job["queue"] == queue and job["state"] == "PENDING"]


def now() -> str:
    return datetime.now(UTC).isoformat()


def outcome(job: dict[str, Any]) -> dict[str, Any]:
    match job["task"]:
        case "demo.add":
            return {"result": job["args"]["a"] + job["args"]["b"]}
        case "demo.echo":
            return {"result": job["args"]["value"]}
        case "demo.fail":
            error = {"type": "RuntimeError", "message": job["args"]["message"], "traceback": "…", "reason": "exception"}
            return {"state": "FAILED", "error": error}
        case _:
            return {}


def new_job(body: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "queue": "default",
        "priority": "default",
        "tags": [],
        "unique_key": None,
        "expires_at": None,
    }
    defaults |= {"unique_states": None, "unique_until": None}
    defaults |= {"timeout": 3600.0, "max_attempts": 3, "run_at": now()}
    blank = dict.fromkeys(("started_at", "finished_at", "worker", "progress", "result", "error", "schedule_id"))
    given = {name: value for name, value in body.items() if name not in ("delay", "unique_period", "on_conflict")}
    state = {"id": str(uuid4()), "state": "PENDING", "attempt": 0, "crashes": 0, "created_at": now()}
    ends = time.monotonic() + (1e9 if body.get("delay") else ENDS_AFTER)
    return defaults | given | state | blank | {"cancel_requested_at": None, "from_a_newer_api": 1, "_ends": ends}


def shown(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name != "_ends"}


def make_app(memory: Memory) -> FastAPI:
    app = FastAPI()

    @app.exception_handler(Refusal)
    async def refuse(_: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse(refusal.document, refusal.status, refusal.headers, "application/problem+json")

    @app.middleware("http")
    async def gate(request: Request, call_next: Any) -> Any:
        memory.calls.append((request.method, request.url.path, dict(request.headers)))
        if memory.refusals:
            return await refuse(request, memory.refusals.pop(0))
        if memory.api_key and request.headers.get("authorization") != f"Bearer {memory.api_key}":
            return await refuse(request, Refusal(401, "Unauthorized", "no valid API key"))
        return await call_next(request)

    @app.post("/v1/jobs", status_code=202)
    async def submit(request: Request, response: Response) -> dict[str, Any]:
        key, body = request.headers["idempotency-key"], await request.body()
        if key in memory.keys:
            known, job_id = memory.keys[key]
            if known != body:
                raise Refusal(422, "Unprocessable", "idempotency key reused")
            return shown(memory.job(job_id))
        known_jobs = set(memory.jobs)
        job = memory.submit(await request.json())
        if job["id"] in known_jobs:
            response.headers["Unique-Conflict"] = "existing"
        memory.keys[key] = (body, job["id"])
        return shown(job)

    @app.post("/v1/jobs/batch", status_code=202)
    async def batch(request: Request, partial: bool = False) -> dict[str, Any]:
        items: list[dict[str, Any]] = []
        for body in (await request.json())["jobs"]:
            try:
                items.append({"id": memory.submit(body)["id"]})
            except Refusal as refusal:
                if not partial:
                    raise
                items.append({"error": refusal.document})
        return {"jobs": items}

    @app.get("/v1/jobs")
    async def listing(request: Request, limit: int = 50, cursor: int = 0) -> dict[str, Any]:
        names = ("state", "task", "queue", "priority")
        wanted = {name: request.query_params.getlist(name) for name in names}
        jobs = [memory.at_present(job) for job in reversed(memory.jobs.values())]
        found = [job for job in jobs if all(job[name] in values or not values for name, values in wanted.items())]
        end = cursor + min(limit, 100)
        page = [shown(job) for job in found[cursor:end]]
        return {"jobs": page, "next_cursor": str(end) if end < len(found) else None}

    @app.get("/v1/jobs/{job_id}")
    def read(job_id: UUID, wait: float = 0.0) -> dict[str, Any]:
        until = time.monotonic() + min(wait, 60.0)
        while memory.job(str(job_id))["state"] not in TERMINAL and time.monotonic() < until:
            time.sleep(0.01)
        return shown(memory.job(str(job_id)))

    @app.patch("/v1/jobs/{job_id}")
    async def update(job_id: UUID, request: Request) -> dict[str, Any]:
        job = memory.job(str(job_id))
        if job["state"] != "PENDING":
            raise Refusal(409, "Conflict", f"job {job_id} is {job['state']}: cannot update")
        job |= await request.json()
        return shown(job)

    @app.post("/v1/jobs/{job_id}/cancel", status_code=202)
    def cancel(job_id: UUID) -> dict[str, Any]:
        job = memory.job(str(job_id))
        if job["state"] in TERMINAL:
            raise Refusal(409, "Conflict", f"job {job_id} is {job['state']}: cannot cancel")
        job |= {"state": "CANCELLED", "finished_at": now()}
        return shown(job)

    @app.post("/v1/jobs/{job_id}/retry", status_code=202)
    def retry(job_id: UUID) -> dict[str, Any]:
        job = memory.job(str(job_id))
        if job["state"] not in TERMINAL:
            raise Refusal(409, "Conflict", f"job {job_id} is {job['state']}: cannot retry")
        job |= {"state": "PENDING", "finished_at": None, "_ends": time.monotonic() + ENDS_AFTER}
        return shown(job)

    @app.get("/v1/jobs/{job_id}/attempts")
    def attempts(job_id: UUID) -> dict[str, Any]:
        job = memory.job(str(job_id))
        past = {"attempt": 1, "state": "FAILED", "worker": "w1", "started_at": now(), "finished_at": now()}
        return {"attempts": [past | {"error": job["error"]}] if job["state"] == "FAILED" else []}

    @app.get("/v1/jobs/{job_id}/logs")
    def logs(job_id: UUID) -> dict[str, Any]:
        memory.job(str(job_id))
        return {"logs": [{"at": now(), "attempt": 1, "message": "half \x1b[31mway", "fields": {"rows": 7}}]}

    @app.get("/v1/tasks")
    def tasks() -> dict[str, Any]:
        return {"tasks": [{"name": "demo.add", "schema": {"type": "object"}}]}

    @app.get("/v1/queues")
    def queues() -> dict[str, Any]:
        return {"queues": [memory.queue("default")]}

    @app.get("/v1/queues/{name}")
    def queue(name: str) -> dict[str, Any]:
        return memory.queue(name)

    @app.patch("/v1/queues/{name}")
    async def update_queue(name: str, request: Request) -> dict[str, Any]:
        memory.queues.setdefault(name, {}).update(await request.json())
        return memory.queue(name)

    @app.post("/v1/queues/{name}/{action}")
    async def change_queue(name: str, action: str, request: Request) -> dict[str, Any]:
        body = json.loads(await request.body() or "{}")
        return memory.change_queue(name, action, body)

    @app.get("/v1/workers")
    def workers() -> dict[str, Any]:
        return {"workers": [{"name": "w1", "slots": 4}]}

    return app


class Stage:
    """An ASGI application that hands on to another, which may change: a server takes longer to start than a test."""

    def __init__(self) -> None:
        self.url = ""
        self._app: ASGIApp | None = None

    def show(self, memory: Memory) -> str:
        """Serve the API over this memory from now on; its URL."""
        self._app = make_app(memory)
        return self.url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None
        await self._app(scope, receive, send)


@contextmanager
def serving() -> Iterator[Stage]:
    """A real server on a free port, for the length of the block."""
    stage = Stage()
    config = uvicorn.Config(stage, port=0, log_level="critical", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        stage.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield stage
    finally:
        server.should_exit = True
        thread.join()

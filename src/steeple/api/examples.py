"""Examples for the OpenAPI document, of one story: a report that is rendered each month."""

from typing import Any, Final

ARGUMENTS: Final[dict[str, Any]] = {"month": "2026-10"}

JOB: Final[dict[str, Any]] = {
    "id": "019ab4c2-7d1e-7a30-8f4e-2b6c1d9e0a57",
    "task": "reports.render",
    "args": ARGUMENTS,
    "state": "SUCCESS",
    "queue": "default",
    "priority": "high",
    "tags": ["nightly"],
    "unique_key": None,
    "run_at": "2026-11-24T00:00:00Z",
    "expires_at": None,
    "timeout": 600.0,
    "attempt": 1,
    "max_attempts": 5,
    "crashes": 0,
    "created_at": "2026-11-24T00:00:00Z",
    "started_at": "2026-11-24T00:00:00.012345Z",
    "finished_at": "2026-11-24T00:00:07.5Z",
    "worker": "reports-1",
    "progress": {"fraction": 1.0, "text": "12 of 12 pages"},
    "result": {"pages": 12},
    "error": None,
    "cancel_requested_at": None,
    "stop": None,
    "schedule_id": None,
    "limits": [],
    "fair_key": None,
}

ERROR: Final[dict[str, Any]] = {
    "type": "ConnectionError",
    "message": "the archive does not answer",
    "traceback": "Traceback (most recent call last): …",
    "reason": "exception",
}

ATTEMPT: Final[dict[str, Any]] = {
    "attempt": 1,
    "state": "FAILED",
    "fence": 1,
    "worker": "reports-1",
    "started_at": "2026-11-24T00:00:00.012345Z",
    "finished_at": "2026-11-24T00:00:05Z",
    "error": ERROR,
    "stop": None,
}

LOG_LINE: Final[dict[str, Any]] = {
    "id": 4711,
    "at": "2026-11-24T00:00:03Z",
    "attempt": 1,
    "message": "half way",
    "fields": {"page": 6},
}

TASK: Final[dict[str, Any]] = {
    "name": "reports.render",
    "description": "Render a month's report.",
    "schema": {"type": "object", "properties": {"month": {"type": "string"}}, "required": ["month"]},
    "queue": "default",
    "priority": "high",
    "timeout": 600.0,
    "retry": {"max_attempts": 5, "initial": 2.0, "factor": 2.0, "cap": 300.0},
    "is_async": False,
}

QUEUE: Final[dict[str, Any]] = {
    "name": "default",
    "counts": {"PENDING": 3, "RUNNING": 2, "SUCCESS": 1200, "FAILED": 4, "CANCELLED": 0},
    "oldest_wait": 0.8,
    "throughput": 1.5,
    "paused": False,
}

WORKER: Final[dict[str, Any]] = {
    "id": "019ab4c0-11aa-7c55-9d00-5e6f7a8b9c0d",
    "name": "reports-1",
    "version": "0.1.0",
    "slots": 4,
    "queues": None,
    "priorities": ["high", "default", "low"],
    "lanes": [{"queue": None, "priority": "high"}],
    "running": [{"id": JOB["id"], "task": "reports.render", "started_at": "2026-11-24T00:00:00.012345Z"}],
    "started_at": "2026-11-23T08:00:00Z",
    "heartbeat_at": "2026-11-24T00:00:02Z",
    "silence": 1.2,
    "draining": False,
    "trouble": None,
}

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
    "unique_states": None,
    "unique_until": None,
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
    "after": [],
    "on_parent_failure": None,
    "flow_id": None,
}

FLOW: Final[dict[str, Any]] = {
    "id": "019ab4c2-7d1e-7a30-8f4e-2b6c1d9e0b11",
    "name": "month-end",
    "state": "RUNNING",
    "counts": {"PENDING": 1, "RUNNING": 0, "SUCCESS": 1, "FAILED": 0, "CANCELLED": 0},
    "held": 0,
    "created_at": "2026-11-24T00:00:00Z",
    "finished_at": None,
    "jobs": [
        {"id": JOB["id"], "task": "reports.render", "state": "SUCCESS", "held_by": None, "after": []},
        {
            "id": "019ab4c2-7d1e-7a30-8f4e-2b6c1d9e0b12",
            "task": "reports.send",
            "state": "PENDING",
            "held_by": None,
            "after": [JOB["id"]],
        },
    ],
    "has_more": False,
}

OPERATION: Final[dict[str, Any]] = {
    "id": "019ab4c9-51aa-7b1f-9a0e-7c9d4e2f6b13",
    "action": "cancel",
    "filter": {"state": ["PENDING"], "task": ["reports.render"]},
    "set": None,
    "state": "DONE",
    "done": 1188,
    "skipped": 12,
    "total": 1200,
    "reasons": [{"reason": "no longer matched when it was its turn", "jobs": 12, "examples": []}],
    "created_at": "2026-11-24T00:00:00Z",
    "started_at": "2026-11-24T00:00:00.4Z",
    "finished_at": "2026-11-24T00:00:00.6Z",
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
    "paused": True,
    "paused_at": "2026-11-24T00:00:00Z",
    "paused_by": "operations",
    "pause_note": "the archive moves",
    "drained": False,
    "default_priority": "low",
    "retention": 86400.0,
    "max_running": 4,
    "rate": {"count": 100, "period": 60.0, "burst": None},
}

PURGE: Final[dict[str, Any]] = {"dry_run": False, "count": 1200, "remaining": 0}

LIMIT: Final[dict[str, Any]] = {
    "key": "customer:42",
    "max_running": 2,
    "rate": {"count": 100, "period": 60.0, "burst": None},
    "running": 2,
    "waiting": 17,
}

WEIGHT: Final[dict[str, Any]] = {"fair_key": "customer:42", "weight": 3.0}

WHY: Final[dict[str, Any]] = {
    "reasons": [
        {
            "code": "limit_full",
            "text": "limit 'customer:42' is full: 2 of 2 run",
            "key": "customer:42",
            "max_running": 2,
            "job_ids": [JOB["id"]],
        }
    ]
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

SCHEDULE: Final[dict[str, Any]] = {
    "id": "019ab4c1-3c2b-7f10-8a6d-7e5f4d3c2b1a",
    "name": "monthly report",
    "task": "reports.render",
    "args": ARGUMENTS,
    "queue": "default",
    "priority": "high",
    "cron": "30 2 1 * *",
    "interval": None,
    "times": None,
    "timezone": "Europe/Berlin",
    "starts_at": None,
    "ends_at": None,
    "jitter": 0.0,
    "overlap": "skip",
    "catch_up": "last",
    "catch_up_window": 86400.0,
    "paused": False,
    "pause_note": None,
    "reading": "At 02:30 on the first day of every month, Europe/Berlin time",
    "next_fires": ["2026-12-01T01:30:00Z", "2027-01-01T01:30:00Z"],
    "next_fires_local": ["2026-12-01T02:30:00+01:00", "2027-01-01T02:30:00+01:00"],
    "source": "api",
    "version": 1,
    "created_at": "2026-11-24T00:00:00Z",
    "updated_at": "2026-11-24T00:00:00Z",
}

FIRE: Final[dict[str, Any]] = {
    "time": "2026-11-01T01:30:00Z",
    "outcome": "fired",
    "why": None,
    "job_id": JOB["id"],
    "backfill_id": None,
    "at": "2026-11-01T01:30:00.012345Z",
}

BACKFILL: Final[dict[str, Any]] = {
    "id": "019ab4c5-0f1e-7d2c-9b3a-495867768594",
    "schedule_id": SCHEDULE["id"],
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-11-01T00:00:00Z",
    "max_running": 2,
    "total": 10,
    "waiting": 8,
    "created_at": "2026-11-24T00:00:00Z",
    "finished_at": None,
}

PREVIEW: Final[dict[str, Any]] = {
    "reading": SCHEDULE["reading"],
    "timezone": SCHEDULE["timezone"],
    "fires": SCHEDULE["next_fires"],
    "fires_local": SCHEDULE["next_fires_local"],
}

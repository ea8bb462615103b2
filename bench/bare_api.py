"""FastAPI answering the API's submit without a database: ``python -m bench.bare_api PORT``.

The body is checked by the very model that describes Steeple's, the reply is as long, and uvicorn runs as for Steeple's.
"""

import gc
import sys
from datetime import UTC, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from uuid_utils.compat import uuid7

from steeple.api import schemas
from steeple.api.requests import SubmitRequest
from steeple.domain.priority import Priority

PLAIN_PATH = "/plain/jobs"
"""Answers with what the function makes, as it is."""

MODEL_PATH = "/model/jobs"
"""Has FastAPI check the answer by its model, and write it."""

api = FastAPI()


@api.post(PLAIN_PATH)
async def submit_job(asked: SubmitRequest) -> JSONResponse:
    job = _job(asked)
    return JSONResponse(job, 202, {"Location": f"/v1/jobs/{job['id']}"})


@api.post(MODEL_PATH, status_code=202, response_model=schemas.Job)
async def submit_job_by_model(asked: SubmitRequest) -> dict[str, Any]:
    return _job(asked)


def _job(asked: SubmitRequest) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {
        "id": str(uuid7()),
        "task": asked.task,
        "args": asked.args,
        "state": "PENDING",
        "queue": asked.queue or "default",
        "priority": asked.priority or Priority.DEFAULT,
        "tags": asked.tags,
        "unique_key": asked.unique_key,
        "run_at": now,
        "expires_at": None,
        "timeout": asked.timeout or 3600.0,
        "attempt": 0,
        "max_attempts": asked.max_attempts or 3,
        "crashes": 0,
        "created_at": now,
        "started_at": None,
        "finished_at": None,
        "worker": None,
        "progress": None,
        "result": None,
        "error": None,
        "cancel_requested_at": None,
        "stop": None,
        "schedule_id": None,
    }


def main(port: int) -> None:
    config = uvicorn.Config(
        api,
        port=port,
        loop="auto",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=2048,
    )
    gc.collect()
    gc.freeze()
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Workers: who lives, and what each of them runs."""

import json
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from steeple.api import openapi, schemas
from steeple.api.deps import Reader
from steeple.api.render import time_text
from steeple.api.replies import json_reply
from steeple.api.requests import NoQuery
from steeple.api.services import services_of
from steeple.store.workers import RunningJob, WorkerRow, live_workers, running_jobs

router = APIRouter(prefix="/v1", tags=["workers"])


@router.get(
    "/workers",
    operation_id="list_workers",
    summary="List the workers",
    response_model=schemas.Workers,
    response_description="The workers that are alive, in the order in which they started.",
    responses=openapi.problems(),
)
async def list_workers(request: Request, caller: Reader, query: Annotated[NoQuery, Query()]) -> Response:
    """Each worker with its slots, its lanes, the jobs that it runs, and its last heartbeat."""
    services = services_of(request)
    dead_after = services.settings.worker_dead_after
    workers = await services.reads.run(lambda connection: live_workers(connection, dead_after))
    ids = [worker.id for worker in workers]
    running = await services.reads.run(lambda connection: running_jobs(connection, ids))
    return json_reply(json.dumps({"workers": [_shown(worker, running) for worker in workers]}))


def _shown(worker: WorkerRow, running: Sequence[RunningJob]) -> dict[str, object]:
    return {
        "id": str(worker.id),
        "name": worker.name,
        "version": worker.version,
        "slots": worker.slots,
        "queues": worker.queues,
        "priorities": worker.priorities,
        "lanes": [{"queue": lane.queue, "priority": lane.priority} for lane in worker.binding.lanes()],
        "running": [_shown_job(job) for job in running if job.worker_id == worker.id],
        "started_at": time_text(worker.started_at),
        "heartbeat_at": time_text(worker.heartbeat_at),
        "silence": worker.silence,
        "draining": worker.draining,
        "trouble": worker.trouble,
    }


def _shown_job(job: RunningJob) -> dict[str, object]:
    return {"id": str(job.id), "task": job.task, "started_at": time_text(job.started_at)}

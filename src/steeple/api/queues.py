"""Queues: what waits in them, and how fast it goes."""

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from steeple.api import openapi, schemas
from steeple.api.deps import Reader
from steeple.api.replies import json_reply
from steeple.api.requests import NoQuery
from steeple.api.services import services_of
from steeple.domain.statistics import QueueStatistics

router = APIRouter(prefix="/v1", tags=["queues"])


@router.get(
    "/queues",
    operation_id="list_queues",
    summary="List the queues",
    response_model=schemas.Queues,
    response_description="The queues, by name.",
    responses=openapi.problems(),
)
async def list_queues(request: Request, caller: Reader, query: Annotated[NoQuery, Query()]) -> Response:
    """Each queue with the number of its jobs in each state, how long the oldest has waited, and its throughput.

    With so many pending jobs that counting them takes a while, the figures may be some seconds old.
    """
    found = await services_of(request).queues.get()
    return json_reply(json.dumps({"queues": [_shown(queue) for queue in found]}))


def _shown(queue: QueueStatistics) -> dict[str, object]:
    return {
        "name": queue.name,
        "counts": queue.counts,
        "oldest_wait": queue.oldest_wait,
        "throughput": queue.throughput,
        "paused": queue.paused,
    }

"""The tasks that jobs can be submitted for."""

import json
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from steeple.api import openapi, schemas
from steeple.api.deps import Reader
from steeple.api.replies import json_reply
from steeple.api.requests import NoQuery
from steeple.api.services import services_of

router = APIRouter(prefix="/v1", tags=["tasks"])


@router.get(
    "/tasks",
    operation_id="list_tasks",
    summary="List the tasks",
    response_model=schemas.Tasks,
    response_description="The tasks, by name.",
    responses=openapi.problems(),
)
async def list_tasks(request: Request, caller: Reader, query: Annotated[NoQuery, Query()]) -> Response:
    """Every task that this API or a worker has registered, with the JSON Schema of its arguments and its defaults."""
    records = await services_of(request).tasks.all()
    return json_reply(json.dumps({"tasks": [asdict(record) for record in records]}))

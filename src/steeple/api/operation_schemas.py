"""What replies about operations hold, for the OpenAPI document only."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from steeple.api.examples import JOB, OPERATION
from steeple.api.schemas import Job, Reply
from steeple.domain.operation import Action, OperationState, Skip


class SkippedJob(Reply):
    id: str
    held_by: Annotated[str | None, Field(description="The job that holds its unique key, if that is why.")] = None


class SkipReason(Reply):
    reason: Skip
    jobs: Annotated[int, Field(description="How many were skipped for it.")]
    examples: Annotated[list[SkippedJob], Field(description="A few of them.")]


class Operation(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [OPERATION]})

    id: Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
    action: Action
    filter: Annotated[dict[str, Any], Field(description="As it was asked for; empty: every job.")]
    set: Annotated[dict[str, Any] | None, Field(description="What `reprioritise` and `move` set.")]
    state: OperationState
    done: Annotated[int, Field(description="Jobs that the action was done to.")]
    skipped: Annotated[int, Field(description="Jobs that it was not done to.")]
    total: Annotated[
        int | None, Field(description="Jobs that matched when it was made. Null while they are too many to count.")
    ]
    reasons: Annotated[list[SkipReason], Field(description="Why jobs were skipped.")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class OperationPage(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"operations": [OPERATION], "next_cursor": None}]})

    operations: list[Operation]
    next_cursor: Annotated[str | None, Field(description="Null on the last page.")]


class OperationPreview(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"count": 1200, "is_exact": True, "sample": [JOB]}]})

    count: Annotated[int, Field(description="Jobs that match.")]
    is_exact: Annotated[bool, Field(description="False: they are too many to count at once, and this is a part.")]
    sample: Annotated[list[Job], Field(description="The newest few of them.")]

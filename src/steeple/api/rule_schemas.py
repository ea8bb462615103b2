"""What replies about limits, fair keys and reasons hold, for the OpenAPI document only."""

from typing import Annotated

from pydantic import ConfigDict, Field

from steeple.api.examples import LIMIT, WEIGHT, WHY
from steeple.api.schemas import Rate, Reply


class WhyReason(Reply):
    """Some codes have further members, such as `run_at`, `key` or `job_ids`."""

    model_config = ConfigDict(extra="allow")

    code: Annotated[str, Field(description="For programs, such as `not_due` or `limit_full`.")]
    text: Annotated[str, Field(description="For people.")]


class Why(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [WHY]})

    reasons: list[WhyReason]


class Limit(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [LIMIT]})

    key: str
    max_running: int | None
    rate: Rate | None
    running: Annotated[int, Field(description="Jobs that run and name this very key.")]
    waiting: Annotated[int, Field(description="Jobs that are due and that it keeps from starting.")]


class Limits(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"limits": [LIMIT], "next_cursor": None}]})

    limits: list[Limit]
    next_cursor: str | None


class Weight(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [WEIGHT]})

    fair_key: str
    weight: float


class Weights(Reply):
    model_config = ConfigDict(json_schema_extra={"examples": [{"weights": [WEIGHT], "next_cursor": None}]})

    weights: list[Weight]
    next_cursor: str | None

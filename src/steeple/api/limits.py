"""Limits by key, and the weights of fair keys."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ValidationError

from steeple.api import openapi, rule_schemas, strict_json
from steeple.api.bodies import read_json_text
from steeple.api.deps import Reader, Writer
from steeple.api.problem_kinds import Kind
from steeple.api.problems import refusal
from steeple.api.replies import json_reply
from steeple.api.requests import KeyPage, LimitRequest, NoQuery, WeightRequest
from steeple.api.services import services_of
from steeple.domain.limits import Limit, Rate
from steeple.errors import InvalidJob
from steeple.faults import field_errors
from steeple.store import limits, weights
from steeple.store.engine import Connection
from steeple.store.parking import unpark_of
from steeple.store.weights import Weight

_MOST_ON_A_PAGE = 1000

LimitKey = Annotated[
    str,
    Path(min_length=1, max_length=255, description="A key, such as `customer:42`; with `*` a pattern of keys."),
]
FairKey = Annotated[str, Path(min_length=1, max_length=255, description="A fair key.")]

router = APIRouter(prefix="/v1", tags=["limits"])


@router.get(
    "/limits",
    operation_id="list_limits",
    summary="List the limits",
    response_model=rule_schemas.Limits,
    response_description="A page of limits, by key.",
    responses=openapi.problems(),
)
async def list_limits(request: Request, caller: Reader, query: Annotated[KeyPage, Query()]) -> Response:
    """What is set, each with what of it is in use; of a pattern each key has its own use, which is not shown here."""
    size = min(query.limit, _MOST_ON_A_PAGE)
    read = partial(limits.limits_in_use, after=query.cursor or "", limit=size + 1)
    found = await services_of(request).reads.run(read)
    following = found[size - 1].limit.key if len(found) > size else None
    return json_reply(json.dumps({"limits": [_shown(each) for each in found[:size]], "next_cursor": following}))


@router.put(
    "/limits/{key:path}",
    operation_id="set_limit",
    summary="Set a limit",
    response_model=rule_schemas.Limit,
    response_description="The limit.",
    responses=openapi.problems(*openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(LimitRequest, {"max_running": 5, "rate": {"count": 100, "period": 60.0}}),
)
async def set_limit(request: Request, caller: Writer, key: LimitKey, query: Annotated[NoQuery, Query()]) -> Response:
    """In place of what was set for this key. It holds from the next claim on; what runs, runs on."""
    asked = await _read(request, LimitRequest)
    rate = None if asked.rate is None else Rate(asked.rate.count, asked.rate.period, asked.rate.burst)
    limit = Limit(key, asked.max_running, rate)

    def let_go(connection: Connection) -> Sequence[limits.InUse]:
        """Once the limit holds, or a claim might put jobs aside by the former."""
        unpark_of(connection, key)
        return limits.in_use(connection, [limit])

    writes = services_of(request).writes
    await writes.run(partial(limits.set_limit, limit=limit))
    (found,) = await writes.run(let_go)
    return json_reply(json.dumps(_shown(found)))


@router.get(
    "/limits/{key:path}",
    operation_id="show_limit",
    summary="Show a limit",
    response_model=rule_schemas.Limit,
    response_description="The limit, and what of it is in use.",
    responses=openapi.problems(Kind.LIMIT_NOT_FOUND),
)
async def show_limit(request: Request, caller: Reader, key: LimitKey, query: Annotated[NoQuery, Query()]) -> Response:
    """What is set for this key or pattern itself."""

    def read(connection: Connection) -> Sequence[limits.InUse]:
        limit = limits.read_limit(connection, key)
        return [] if limit is None else limits.in_use(connection, [limit])

    found = await services_of(request).reads.run(read)
    if not found:
        raise _no_limit(key)
    return json_reply(json.dumps(_shown(found[0])))


@router.delete(
    "/limits/{key:path}",
    operation_id="delete_limit",
    summary="Delete a limit",
    status_code=204,
    response_description="It is gone.",
    responses=openapi.problems(Kind.LIMIT_NOT_FOUND),
)
async def delete_limit(request: Request, caller: Writer, key: LimitKey, query: Annotated[NoQuery, Query()]) -> Response:
    """What it held back may start, unless a pattern limits the key."""

    writes = services_of(request).writes
    if not await writes.run(partial(limits.delete_limit, key=key)):
        raise _no_limit(key)
    await writes.run(partial(unpark_of, key=key))
    return Response(status_code=204)


@router.get(
    "/weights",
    operation_id="list_weights",
    summary="List the weights of fair keys",
    response_model=rule_schemas.Weights,
    response_description="A page of weights, by fair key.",
    responses=openapi.problems(),
)
async def list_weights(request: Request, caller: Reader, query: Annotated[KeyPage, Query()]) -> Response:
    """Those that were set; every other fair key weighs 1."""
    size = min(query.limit, _MOST_ON_A_PAGE)
    read = partial(weights.list_weights, after=query.cursor or "", limit=size + 1)
    found = await services_of(request).reads.run(read)
    following = found[size - 1].fair_key if len(found) > size else None
    return json_reply(json.dumps({"weights": [vars(each) for each in found[:size]], "next_cursor": following}))


@router.put(
    "/weights/{fair_key:path}",
    operation_id="set_weight",
    summary="Set the weight of a fair key",
    response_model=rule_schemas.Weight,
    response_description="The weight.",
    responses=openapi.problems(*openapi.BODY_PROBLEMS),
    openapi_extra=openapi.body(WeightRequest, {"weight": 3.0}),
)
async def set_weight(
    request: Request, caller: Writer, fair_key: FairKey, query: Annotated[NoQuery, Query()]
) -> Response:
    """A key of weight 3 starts three jobs while one of weight 1 starts one, in each lane that they share."""
    asked = await _read(request, WeightRequest)
    weight = Weight(fair_key, asked.weight)
    await services_of(request).writes.run(partial(weights.set_weight, weight=weight))
    return json_reply(json.dumps(vars(weight)))


@router.delete(
    "/weights/{fair_key:path}",
    operation_id="delete_weight",
    summary="Delete the weight of a fair key",
    status_code=204,
    response_description="The key weighs 1 again.",
    responses=openapi.problems(),
)
async def delete_weight(
    request: Request, caller: Writer, fair_key: FairKey, query: Annotated[NoQuery, Query()]
) -> Response:
    """Also where none was set."""
    await services_of(request).writes.run(partial(weights.delete_weight, fair_key=fair_key))
    return Response(status_code=204)


async def _read(request: Request, model: type[Any]) -> Any:
    """The body as ``model``. Raises what makes it none."""
    services = services_of(request)
    text = await read_json_text(request, dict(request.scope["headers"]), services.settings.max_body_bytes)
    strict_json.read_members(text)
    try:
        found: BaseModel = model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise InvalidJob(field_errors(error, strict_json.parse(text))) from None
    return found


def _shown(found: limits.InUse) -> dict[str, Any]:
    limit = found.limit
    rate = None if limit.rate is None else vars(limit.rate)
    return {
        "key": limit.key,
        "max_running": limit.max_running,
        "rate": rate,
        "running": found.running,
        "waiting": found.waiting,
    }


def _no_limit(key: str) -> Exception:
    return refusal(Kind.LIMIT_NOT_FOUND, f"no limit is set for {key[:200]!r} itself")

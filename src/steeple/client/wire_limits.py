"""Builds the requests about limits and weights and reads their replies, as ``wire`` does."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from steeple.client import models
from steeple.client.encoding import encoded, query_of
from steeple.client.wire import Request, many, one

T = TypeVar("T")


def limits(cursor: str | None) -> Request[tuple[list[models.Limit], str | None]]:
    return Request("GET", "/v1/limits", _page("limits", models.Limit), query_of({"cursor": cursor}), is_repeatable=True)


def set_limit(key: str, max_running: int | None, rate: Mapping[str, Any] | None) -> Request[models.Limit]:
    given = {"max_running": max_running, "rate": rate}
    body = encoded({name: value for name, value in given.items() if value is not None})
    return Request("PUT", f"/v1/limits/{quote(key, safe='')}", one(models.Limit), body=body, is_repeatable=True)


def delete_limit(key: str) -> Request[None]:
    return Request("DELETE", f"/v1/limits/{quote(key, safe='')}", _nothing)


def weights(cursor: str | None) -> Request[tuple[list[models.Weight], str | None]]:
    return Request(
        "GET", "/v1/weights", _page("weights", models.Weight), query_of({"cursor": cursor}), is_repeatable=True
    )


def set_weight(fair_key: str, weight: float) -> Request[models.Weight]:
    path = f"/v1/weights/{quote(fair_key, safe='')}"
    return Request("PUT", path, one(models.Weight), body=encoded({"weight": weight}), is_repeatable=True)


def delete_weight(fair_key: str) -> Request[None]:
    return Request("DELETE", f"/v1/weights/{quote(fair_key, safe='')}", _nothing, is_repeatable=True)


def _page(member: str, model: type[T]) -> Callable[[bytes], tuple[list[T], str | None]]:
    items = many(member, model)
    return lambda body: (items(body), json.loads(body).get("next_cursor"))


def _nothing(_: bytes) -> None:
    return None

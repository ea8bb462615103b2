"""Builds the requests about schedules and reads their replies, for ``Client.send`` and ``AsyncClient.send``. No I/O.

Schedules come as plain dicts, with the members that the API gives them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from steeple.client.encoding import encoded, query_of
from steeple.client.models import Job
from steeple.client.wire import Request

Document = dict[str, Any]

_PATH = "/v1/schedules"
_document = TypeAdapter(Document).validate_json
_job = TypeAdapter(Job).validate_json


def page(filters: Mapping[str, Any]) -> Request[Document]:
    """``schedules`` and ``next_cursor``. ``filters``: ``name``, ``task``, ``paused``, ``limit``, ``cursor``."""
    return Request("GET", _PATH, _document, query_of(filters), is_repeatable=True)


def create(members: Mapping[str, Any]) -> Request[Document]:
    return Request("POST", _PATH, _document, body=encoded(members))


def show(schedule_id: str) -> Request[Document]:
    return Request("GET", _path(schedule_id), _document, is_repeatable=True)


def update(schedule_id: str, members: Mapping[str, Any], *, version: int | None = None) -> Request[Document]:
    """With ``version`` only if it still is that one; raises ``Outdated`` if it is not."""
    return Request("PATCH", _path(schedule_id), _document, headers=_if_match(version), body=encoded(members))


def delete(schedule_id: str, *, version: int | None = None) -> Request[None]:
    return Request("DELETE", _path(schedule_id), lambda _: None, headers=_if_match(version))


def pause(schedule_id: str, note: str | None = None) -> Request[Document]:
    body = encoded({"note": note})
    return Request("POST", _path(schedule_id, "/pause"), _document, body=body, is_repeatable=True)


def resume(schedule_id: str) -> Request[Document]:
    return Request("POST", _path(schedule_id, "/resume"), _document, is_repeatable=True)


def run(schedule_id: str) -> Request[Job]:
    """Its job, now."""
    return Request("POST", _path(schedule_id, "/run"), _job)


def preview(schedule_id: str, count: int = 10) -> Request[Document]:
    """``fires`` and ``fires_local``."""
    return Request("GET", _path(schedule_id, "/preview"), _document, query_of({"count": count}), is_repeatable=True)


def fires(schedule_id: str, *, limit: int = 50, before: datetime | None = None) -> Request[Document]:
    """``fires``, the latest first, and ``next_before``."""
    query = query_of({"limit": limit, "before": before})
    return Request("GET", _path(schedule_id, "/fires"), _document, query, is_repeatable=True)


def backfill(schedule_id: str, first: datetime, last: datetime, max_running: int = 1) -> Request[Document]:
    body = encoded({"from": first, "to": last, "max_running": max_running})
    return Request("POST", _path(schedule_id, "/backfill"), _document, body=body)


def backfills(schedule_id: str) -> Request[Document]:
    return Request("GET", _path(schedule_id, "/backfills"), _document, is_repeatable=True)


def _path(schedule_id: str, action: str = "") -> str:
    return f"{_PATH}/{quote(schedule_id, safe='')}{action}"


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}

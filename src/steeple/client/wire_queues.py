"""Builds the requests about single queues and reads their replies, as ``wire`` does."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from steeple.client.encoding import encoded
from steeple.client.models import Purge, Queue
from steeple.client.wire import Request, one

_LONGEST_PURGE = 20.0
"""Seconds. An API ends a purge by itself after 10."""


def show(name: str) -> Request[Queue]:
    return Request("GET", _path(name), one(Queue), is_repeatable=True)


def pause(name: str, note: str | None) -> Request[Queue]:
    return Request("POST", _path(name, "/pause"), one(Queue), body=_note(note), is_repeatable=True)


def drain(name: str, note: str | None) -> Request[Queue]:
    return Request("POST", _path(name, "/drain"), one(Queue), body=_note(note), is_repeatable=True)


def resume(name: str) -> Request[Queue]:
    return Request("POST", _path(name, "/resume"), one(Queue), is_repeatable=True)


def purge(name: str, *, dry_run: bool) -> Request[Purge]:
    # Not repeatable: jobs that came in between are not meant.
    body = encoded({"dry_run": dry_run})
    return Request("POST", _path(name, "/purge"), one(Purge), body=body, hold=_LONGEST_PURGE, is_repeatable=dry_run)


def update(name: str, changes: Mapping[str, Any]) -> Request[Queue]:
    return Request("PATCH", _path(name), one(Queue), body=encoded(changes), is_repeatable=True)


def _note(note: str | None) -> bytes:
    return encoded({} if note is None else {"note": note})


def _path(name: str, action: str = "") -> str:
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._:-]*", name):
        raise ValueError(f"{name!r} is not the name of a queue")
    return f"/v1/queues/{quote(name)}{action}"

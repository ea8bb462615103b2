"""Reads the bodies of requests: never more bytes than allowed, and as JSON only."""

import asyncio
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from steeple.api import strict_json
from steeple.api.problem_kinds import Kind
from steeple.api.problems import Fault, Problem, Refusal, refusal
from steeple.api.strict_json import NotJson, UnacceptableJson
from steeple.errors import FieldError
from steeple.faults import field_errors, token

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_OFF_LOOP_CHARS = 64 * 1024
"""A text over this is taken apart by a thread, so that other requests need not wait for it."""

_MOST_MEMBERS = 50


async def apart(text: str, work: Callable[[str], T]) -> T:
    """What ``work`` makes of ``text``, here and now unless it is large."""
    return await asyncio.to_thread(work, text) if len(text) > _OFF_LOOP_CHARS else work(text)


async def read_json_text(request: Request, headers: Mapping[bytes, bytes], limit: int) -> str:
    """The text of a body that claims to be JSON. Raises ``Refusal``, ``NotJson``."""
    _require_json(headers)
    return _decoded(await _read(request, headers, limit))


async def read_optional_json_text(request: Request, limit: int) -> str:
    """The same for an operation that can do without a body: an empty object then. Raises ``Refusal``, ``NotJson``."""
    headers = dict(request.scope["headers"])
    body = await _read(request, headers, limit)
    if not body:
        return "{}"
    _require_json(headers)
    return _decoded(body)


def read_object(text: str, model: type[M]) -> M:
    """An object that is as ``model`` says. Raises ``NotJson``, ``UnacceptableJson``."""
    members = strict_json.read_members(text)
    if members is None:
        raise UnacceptableJson([FieldError("", "is not an object")])
    if len(members) > _MOST_MEMBERS:
        raise UnacceptableJson([FieldError("", f"has more than {_MOST_MEMBERS} members")])
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise UnacceptableJson(field_errors(error, strict_json.parse(text))) from None


async def require_no_members(request: Request, limit: int) -> None:
    """For an operation that takes none: a body may be missing, or an empty object.

    Raises ``Refusal``, ``NotJson``, ``UnacceptableJson``.
    """
    headers = dict(request.scope["headers"])
    body = await _read(request, headers, limit)
    if not body:
        return
    _require_json(headers)
    value = await apart(_decoded(body), strict_json.parse)
    if not isinstance(value, dict):
        raise UnacceptableJson(strict_json.faults(value) or [FieldError("", "must be an empty object, or no body")])
    if value:
        names = islice(value, _MOST_MEMBERS)
        raise UnacceptableJson([FieldError(token(name), "is not known here: leave it out") for name in names])


def _require_json(headers: Mapping[bytes, bytes]) -> None:
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        raise _encoded(encoding)
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise _unsupported(media_type)


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8 at byte {error.start}") from None


async def _read(request: Request, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    length = headers.get(b"content-length", b"")
    if length.isdigit() and len(length) < 20 and int(length) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


class Disconnected(Exception):
    """The client has gone: nobody waits for an answer."""


def _encoded(encoding: bytes) -> Refusal:
    detail = "must be left out: the body is read as it is"
    fault = Fault("/Content-Encoding", detail, "header")
    given = encoding.decode("ascii", "replace")[:100] or "nothing"
    problem = Problem(
        Kind.UNSUPPORTED_MEDIA_TYPE,
        f"the body is encoded as {given}, which is not understood: send it as it is, without a Content-Encoding",
        (fault,),
        headers={"Accept-Encoding": "identity"},
    )
    return Refusal(problem)


def _unsupported(media_type: bytes) -> Refusal:
    given = media_type.decode("ascii", "replace")[:100] or "nothing"
    fault = Fault("/Content-Type", "must be application/json", "header")
    return refusal(Kind.UNSUPPORTED_MEDIA_TYPE, f"the body must be application/json, not {given}", fault)


def _too_large(limit: int) -> Refusal:
    return refusal(Kind.TOO_LARGE, f"the body takes more than {limit} bytes")

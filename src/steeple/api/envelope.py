"""What is around every request: its id, HEAD as GET, and a problem document for whatever went wrong inside."""

import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from steeple.api.bodies import Disconnected
from steeple.api.problem_kinds import Kind
from steeple.api.problems import Problem, problem_of
from steeple.telemetry import events

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}").fullmatch
_OURS = Problem(Kind.INTERNAL_ERROR, "the log tells more under this request_id")


class Envelope:
    """ASGI middleware, without a task or a response object of its own.

    ``shortcuts`` lead past the router and all that FastAPI puts around it, by method and path.
    """

    def __init__(self, app: ASGIApp, shortcuts: Mapping[tuple[str, str], ASGIApp]) -> None:
        self._app = app
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        has_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message["headers"].append((b"x-request-id", request_id))
            await send(message)

        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        try:
            app = self._shortcuts.get((scope["method"], scope["path"]), self._app)
            await app(scope, receive, send_with_id)
        except Disconnected:
            return
        except Exception as error:
            problem = problem_of(error)
            if problem is None or problem.kind.status >= 500:
                _log(scope, request_id, problem, error)
            if has_started:
                raise
            await (problem or _OURS).response(request_id.decode())(scope, receive, send_with_id)


def _request_id(scope: Scope) -> bytes:
    """The id that came with the request, if it is one that can be logged and sent back; or else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID(value):
            found: bytes = value
            return found
    return str(uuid7()).encode()


def _log(scope: Scope, request_id: bytes, problem: Problem | None, error: Exception) -> None:
    if problem is None:
        events.request_failed(scope["method"], scope["path"], request_id.decode(), error)
    else:
        events.request_unavailable(scope["method"], scope["path"], request_id.decode(), error)

"""The short way through for the operation that is called thousands of times a second."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi.requests import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from steeple.api.problem_kinds import Kind
from steeple.api.problems import Fault, Refusal, refusal
from steeple.faults import token


class DirectRoute(APIRoute):
    """Admits the caller, calls the endpoint with request and caller, and sends the reply that it gives.

    FastAPI describes such an operation like any other; only its own reading, dependencies and writing, which take
    longer than all of ours, are not used. The path is fixed, and the operation has no query parameters.
    """

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        admit: Any
        (admit,) = (dependency.call for dependency in self.dependant.dependencies)

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            caller = await admit(request)
            if scope["query_string"]:
                raise _no_query(scope["query_string"])
            reply = await endpoint(request, caller)
            await reply(scope, receive, send)

        self.app = call


class DirectReply:
    """A JSON reply, sent as it is."""

    def __init__(self, text: str, status: int, headers: Mapping[str, str]) -> None:
        self._body = text.encode()
        self._status = status
        self._headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._body)).encode()),
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


def _no_query(query: bytes) -> Refusal:
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)][:20]
    faults = [Fault(token(name), "is not known here", "query") for name in names]
    return refusal(Kind.INVALID_REQUEST, "this operation has no query parameters", *faults)

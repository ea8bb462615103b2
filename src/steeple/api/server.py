"""uvicorn, as the API runs it: waits are let go when it stops, and what is not HTTP gets a problem document too."""

import json
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uuid_utils.compat import uuid7
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from steeple.api.problem_kinds import Kind
from steeple.api.problems import MEDIA_TYPE, Problem
from steeple.api.services import Services

_LAST_REQUESTS_SECONDS = 5
"""What requests get to finish when the server stops; those that hold a wait need none of it."""

_MOST_HEADER_BYTES = 64 * 1024


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with an end to headers, and refusals as problem documents."""

    _header_bytes = 0

    def on_message_begin(self) -> None:
        self._header_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        kind = Kind.HEADERS_TOO_LARGE if self._header_bytes > _MOST_HEADER_BYTES else Kind.BAD_REQUEST
        request_id = str(uuid7())
        body = json.dumps(Problem(kind, kind.title).document(request_id)).encode()
        head = (
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[kind.status] + head.encode() + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _MOST_HEADER_BYTES:
            raise ValueError("the request's headers are too large")


class Server(uvicorn.Server):
    """A server whose process ends in order, and with success, when it is told to."""

    def __init__(self, api: FastAPI, services: Services) -> None:
        super().__init__(
            uvicorn.Config(
                api,
                loop="auto",
                http=Protocol,
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_LAST_REQUESTS_SECONDS,
            )
        )
        self._services = services

    def handle_exit(self, sig: int, frame: Any) -> None:
        """As uvicorn does, but the signal is not raised again once all is done."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.watcher.release()
        await super().shutdown(sockets)

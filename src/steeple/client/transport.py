"""How httpx2 is set up for the API, and its words turned into ours. Shared by both drivers; sends nothing itself."""

from typing import Any

import httpx2

from steeple.client import wire
from steeple.client.errors import TransportError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.LocalProtocolError,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
)


def settings(url: str, api_key: str | None, timeout: float) -> dict[str, Any]:
    """Keyword arguments of ``httpx2.Client`` and ``httpx2.AsyncClient``; ``timeout`` is in seconds."""
    return {
        "base_url": wire.checked_url(url),
        "headers": wire.client_headers(api_key),
        "timeout": timeout,
        # A proxy of the environment's cannot reach our own machine's loopback.
        "trust_env": httpx2.URL(url).host not in LOOPBACK,
    }


def arguments(request: wire.Request[Any], timeout: float) -> dict[str, Any]:
    """Keyword arguments of ``httpx2.Client.request``."""
    content_type = {"Content-Type": "application/json"} if request.body is not None else {}
    return {
        "method": request.method,
        "url": request.path,
        "params": list(request.query),
        "headers": {**request.headers, **content_type},
        "content": request.body,
        "timeout": httpx2.Timeout(timeout, read=timeout + request.hold),
    }


def reply(response: httpx2.Response) -> wire.Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return wire.Reply(response.status_code, headers, response.content)


def fault(error: httpx2.RequestError, url: str) -> TransportError:
    was_sent = not isinstance(error, NEVER_SENT)
    return TransportError(url, str(error) or type(error).__name__, was_sent=was_sent)

"""Sends HTTP requests over a number of connections, one after the other on each, and times the replies.

``send`` has a process of its own do it, ``python -m bench.load``: asyncio's protocols alone, without an HTTP library,
so that it costs far less than what it measures.
"""

import asyncio
import gc
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import cast

from bench.arena import ContestantFailed
from bench.figures import percentile

WARM_UP_SECONDS = 1.0
_PATIENCE = 60.0
_ID = re.compile(rb'"id": ?"([0-9a-f-]{36})"')
_LENGTH = b"content-length: "
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Plan:
    """``requests`` are sent in turn, over and over, for ``seconds`` after a warm-up; all must get ``status``.

    It goes on for longer where ``at_least`` so many replies have not come by then.
    """

    port: int
    connections: int
    seconds: float
    requests: Sequence[str]
    status: int
    at_least: int = 1


@dataclass(frozen=True)
class Loaded:
    """``milliseconds``: of each reply that came after the warm-up; ``in_time``: how many of them within ``seconds``.

    ``ids``: all in any reply, warm-up and all.
    """

    milliseconds: Sequence[float]
    in_time: int
    seconds: float
    replies: int
    ids: Sequence[str]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.in_time / self.seconds

    def share_within(self, share: float) -> float:
        """The time, in milliseconds, that this share of the replies did not exceed."""
        return percentile(self.milliseconds, share)


def post(path: str, body: object) -> str:
    """The text of a request; characters are bytes."""
    text = json.dumps(body, separators=(",", ":"))
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n{text}"


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def send(plan: Plan) -> Loaded:
    """Raises ``ContestantFailed`` if a reply was not as planned, or there was none."""
    command = [sys.executable, "-m", "bench.load"]
    text = json.dumps(asdict(plan)).encode()
    ran = subprocess.run(command, input=text, capture_output=True, check=False)
    if ran.returncode:
        raise ContestantFailed(ran.stderr.decode(errors="replace")[-2000:] or "the load generator failed")
    return Loaded(**json.loads(ran.stdout))


class Replies:
    """What came back, from all connections."""

    def __init__(self, plan: Plan, began: float, over: "asyncio.Future[None]") -> None:
        self.plan = plan
        self.mark = began + WARM_UP_SECONDS
        self.until = self.mark + plan.seconds
        self.milliseconds: list[float] = []
        self.in_time = 0
        self.bodies: list[bytes] = []
        self._over = over
        self._sent = 0
        self._open = plan.connections
        self._requests = [request.encode("latin-1") for request in plan.requests]

    def next_request(self) -> bytes:
        self._sent += 1
        return self._requests[self._sent % len(self._requests)]

    def note(self, sent_at: float, now: float, head: bytes, body: bytes) -> None:
        if int(head[9:12]) != self.plan.status:
            self.fail(f"answered {(head + body)[:1000].decode(errors='replace')}")
        self.bodies.append(body)
        if now > self.mark:
            self.milliseconds.append(1000 * (now - sent_at))
            self.in_time += now <= self.until

    def is_enough(self, now: float) -> bool:
        return now >= self.until and len(self.milliseconds) >= self.plan.at_least

    def done(self) -> None:
        self._open -= 1
        if not self._open and not self._over.done():
            self._over.set_result(None)

    def fail(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_exception(ContestantFailed(reason))


class Connection(asyncio.Protocol):
    """Sends a request as soon as the one before is answered, until the time is over."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self._received = b""
        self._sent_at = 0.0
        self._is_done = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        reply = whole_reply(self._received)
        if reply is None:
            return
        now = monotonic()
        self._received = b""
        self._replies.note(self._sent_at, now, *reply)
        if self._replies.is_enough(now):
            self._is_done = True
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_done:
            self._replies.done()
        else:
            self._replies.fail(f"a connection was closed: {error}")

    def _send(self) -> None:
        self._sent_at = monotonic()
        self._transport.write(self._replies.next_request())


def whole_reply(received: bytes) -> tuple[bytes, bytes] | None:
    """Its head and its body, once they are there to the last byte."""
    head, end, body = received.partition(_END_OF_HEAD)
    if not end:
        return None
    _, _, after = head.lower().partition(_LENGTH)
    return (head, body) if len(body) == int(after.partition(b"\r\n")[0]) else None


async def _load(plan: Plan) -> Loaded:
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    replies = Replies(plan, monotonic(), over)
    loop.set_exception_handler(lambda _, context: replies.fail(repr(context.get("exception", context["message"]))))
    for _ in range(plan.connections):
        await loop.create_connection(lambda: Connection(replies), "127.0.0.1", plan.port)
    async with asyncio.timeout(WARM_UP_SECONDS + plan.seconds + _PATIENCE + plan.at_least):
        await over
    ids = [found.decode() for body in replies.bodies for found in _ID.findall(body)]
    return Loaded(replies.milliseconds, replies.in_time, plan.seconds, len(replies.bodies), ids)


def main() -> None:
    import uvloop

    plan = Plan(**json.load(sys.stdin))
    gc.disable()  # what is kept has no cycles
    loaded = uvloop.run(_load(plan))
    json.dump(asdict(loaded), sys.stdout)


if __name__ == "__main__":
    main()

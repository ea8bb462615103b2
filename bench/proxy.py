"""A PostgreSQL further away: ``python -m bench.proxy PORT SOCKET SECONDS`` passes on what comes, either way, later.

What is under way at once is not limited: each piece is sent on so many seconds after it came.
"""

import asyncio
import selectors
import sys
from collections import deque
from typing import cast


class Later:
    """Writes to a transport what it is given, in order, each after the same delay."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self._transport: asyncio.Transport | None = None

    def to(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._pass_on()

    def take(self, data: bytes | None) -> None:
        """``None``: there is no more, and the transport is to be closed."""
        self._waiting.append((self._loop.time() + self._seconds, data))
        if len(self._waiting) == 1 and self._transport is not None:
            self._pass_on()

    def _pass_on(self) -> None:
        """What is due; then once more when the next will be."""
        assert self._transport is not None
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            _, data = self._waiting.popleft()
            if data is None:
                self._transport.close()
            else:
                self._transport.write(data)
        if self._waiting:
            self._loop.call_at(self._waiting[0][0], self._pass_on)


class End(asyncio.Protocol):
    """One end of a connection: what comes in here goes ``out`` there; ``back`` is what goes out here."""

    def __init__(self, out: Later, back: Later) -> None:
        self._out = out
        self._back = back

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._back.to(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._out.take(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._out.take(None)


class Near(End):
    """The client's end; opens the other one."""

    def __init__(self, socket: str, seconds: float, opening: "set[asyncio.Task[object]]") -> None:
        super().__init__(Later(seconds), Later(seconds))
        self._socket = socket
        self._opening = opening

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        task: asyncio.Task[object] = loop.create_task(
            loop.create_unix_connection(lambda: End(self._back, self._out), self._socket)
        )
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: "asyncio.Task[object]") -> None:
        self._opening.discard(task)
        if task.exception() is not None:
            self._back.take(None)


async def serve(port: int, socket: str, seconds: float) -> asyncio.Server:
    """Listen at a TCP port of this machine for what is to reach a Unix socket; ``seconds``: the delay each way."""
    opening: set[asyncio.Task[object]] = set()
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Near(socket, seconds, opening), "127.0.0.1", port)


def fine_loop() -> asyncio.AbstractEventLoop:
    """A loop whose pauses are exact to microseconds: epoll's, and uvloop's, are whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _main(port: int, socket: str, seconds: float) -> None:
    async with await serve(port, socket, seconds) as server:
        await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=fine_loop) as runner:
        runner.run(_main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))

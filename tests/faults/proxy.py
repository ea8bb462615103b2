"""A network that a test can break: a TCP port on 127.0.0.1 in front of a server's Unix socket.

Parts under test connect to the port; tests themselves to the socket, so that they see what goes on meanwhile.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_CHUNK_BYTES = 65_536
_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)
_PATIENCE = 10.0


class Link:
    """A client's connection and the one that it is joined to at the server."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.from_client, self.to_client = client
        self.from_server, self.to_server = server
        self.is_forgotten = False
        """Half open: the client still believes in the connection, and the server has none."""

    def cut(self) -> None:
        """Both ends see a reset, and what was under way is lost."""
        for writer in (self.to_client, self.to_server):
            _reset(writer)

    def forget(self) -> None:
        self.is_forgotten = True
        _reset(self.to_server)


class Proxy:
    """Passes everything on, until told otherwise. All its work is done by a thread of its own."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._links: set[Link] = set()
        self._is_flowing = asyncio.Event()
        self._is_flowing.set()
        self._serving: set[asyncio.Task[None]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {upstream.name}", daemon=True)
        self._thread.start()
        self._do(self._open())

    def close(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()
        self._listener.close()

    def cut(self) -> int:
        """Reset every connection; returns how many there were."""
        return self._call(self._cut)

    def forget(self) -> int:
        """Make every connection half open: what the client sends is taken, and never answered. New ones are well."""
        return self._call(self._forget)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing flows, on old connections or new ones; at the end all that was held goes its way."""
        self._call(self._is_flowing.clear)
        try:
            yield
        finally:
            self._call(self._is_flowing.set)

    def heal(self) -> None:
        """Let everything flow, and let half-open connections go."""
        self._call(self._heal)

    @property
    def connections(self) -> int:
        return len(self._links)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._listener)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._heal()
        self._cut()
        if self._serving:
            await asyncio.wait(self._serving, timeout=_PATIENCE / 2)

    def _cut(self) -> int:
        links = set(self._links)
        for link in links:
            link.cut()
        return len(links)

    def _forget(self) -> int:
        links = set(self._links)
        for link in links:
            link.forget()
        return len(links)

    def _heal(self) -> None:
        self._is_flowing.set()
        for link in set(self._links):
            if link.is_forgotten:
                link.cut()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        try:
            await self._is_flowing.wait()
            server = await asyncio.open_unix_connection(self._upstream)
        except OSError:  # the server is down: so is its port
            _reset(to_client)
        else:
            await self._join(Link((from_client, to_client), server))
        finally:
            self._serving.discard(serving)

    async def _join(self, link: Link) -> None:
        """Until either end is gone; of a forgotten link, until its client is."""
        self._links.add(link)
        upward = asyncio.create_task(_until_gone(self.carry_up(link)))
        downward = asyncio.create_task(_until_gone(self.carry_down(link)))
        try:
            await asyncio.wait([upward, downward], return_when=asyncio.FIRST_COMPLETED)
            if link.is_forgotten:
                await upward
        finally:
            upward.cancel()
            downward.cancel()
            self._links.discard(link)
            link.to_client.close()
            link.to_server.close()

    async def carry_up(self, link: Link) -> None:
        """Pass on what the client sends, until it ends."""
        while data := await link.from_client.read(_CHUNK_BYTES):
            await self.send_up(link, data)

    async def carry_down(self, link: Link) -> None:
        """Pass on what the server sends, until it ends."""
        while data := await link.from_server.read(_CHUNK_BYTES):
            await self.send_down(link, data)

    async def send_up(self, link: Link, data: bytes) -> None:
        await self._is_flowing.wait()
        if not link.is_forgotten:
            link.to_server.write(data)
            await link.to_server.drain()

    async def send_down(self, link: Link, data: bytes) -> None:
        await self._is_flowing.wait()
        link.to_client.write(data)
        await link.to_client.drain()

    def _call(self, function: Callable[[], T]) -> T:
        """Have the proxy's own thread call it."""

        async def call() -> T:
            return function()

        return self._do(call())

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE)


async def _until_gone(carrying: Coroutine[Any, Any, None]) -> None:
    try:
        await carrying
    except (OSError, asyncio.IncompleteReadError):  # an end that goes without a word is what these tests are about
        return


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without a farewell: unsent bytes are lost, and the other end gets a reset."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_INET and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
    writer.transport.abort()

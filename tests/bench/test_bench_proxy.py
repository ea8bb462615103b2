"""The proxy that makes a server distant: how late, in which order, and whether what is under way is held back."""

import asyncio
from pathlib import Path
from time import monotonic

from bench.arena import free_port
from bench.proxy import fine_loop, serve

_EACH_WAY_SECONDS = 0.1
_PIECES = 50


class _Echo:
    def __init__(self) -> None:
        self.has_ended = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
        await writer.wait_closed()
        self.has_ended.set()


async def _through_the_proxy(folder: Path) -> tuple[float, float, list[int]]:
    """How long one trip there and back takes, then many that are under way together; and what came back of these."""
    socket, port, echo = str(folder / "echo"), free_port(), _Echo()
    async with (
        asyncio.timeout(60),
        await asyncio.start_unix_server(echo, socket),
        await serve(port, socket, _EACH_WAY_SECONDS),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = monotonic()
        writer.write(b"0\n")
        await reader.readline()
        single = monotonic() - began
        began = monotonic()
        for number in range(_PIECES):
            writer.write(b"%d\n" % number)
            await asyncio.sleep(0.001)
        came = [int(await reader.readline()) for _ in range(_PIECES)]
        together = monotonic() - began
        writer.close()
        await writer.wait_closed()
        await echo.has_ended.wait()
    return single, together, came


def test_the_proxy_delays_each_way_and_holds_back_nothing_that_is_under_way_meanwhile(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=fine_loop) as runner:
        single, together, came = runner.run(_through_the_proxy(tmp_path))
    assert single >= 2 * _EACH_WAY_SECONDS
    assert 2 * _EACH_WAY_SECONDS <= together < _PIECES * 2 * _EACH_WAY_SECONDS / 2
    assert came == list(range(_PIECES))

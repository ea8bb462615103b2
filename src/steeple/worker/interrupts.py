"""The soft signal: raises ``Cancelled`` or ``TimedOut`` inside a task's own code, and nowhere else.

While our code runs (decoding, committing, reporting) nothing is armed and the signal does nothing; a task is told once.
"""

import asyncio
import signal
from collections.abc import Generator
from types import FrameType
from typing import Any

from steeple.domain.job import Claim
from steeple.errors import Cancelled, TimedOut
from steeple.worker.board import Seat, Stop

SOFT_SIGNAL = signal.SIGUSR2


class AsyncCancelled(Cancelled, asyncio.CancelledError):
    """``Cancelled`` for a coroutine, where ``except asyncio.CancelledError`` is just as good.

    A ``TaskGroup`` cancels its tasks and passes it on in a group, as it does with any exception of its body.
    """


class AsyncTimedOut(TimedOut, asyncio.CancelledError):
    """``TimedOut`` for a coroutine."""


class Interrupts:
    """Belongs to the slot's main thread, where Python runs signal handlers."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._armed: Claim | None = None
        self._coroutine: Interruptible | None = None

    def install(self) -> None:
        signal.signal(SOFT_SIGNAL, self._on_signal)

    def arm(self, claim: Claim) -> None:
        """From here on the task's code runs. A stop that was asked for before takes effect at once."""
        self._armed = claim
        self._act()

    def disarm(self) -> None:
        self._armed = self._coroutine = None

    def watch(self, coroutine: "Interruptible") -> None:
        """The armed task runs as a coroutine: throw into it, at its next ``await``, instead of raising."""
        self._coroutine = coroutine

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._act()

    def _act(self) -> None:
        claim = self._armed
        stop = None if claim is None else self._seat.asked_to_stop(claim)
        if stop is None:
            return
        coroutine = self._coroutine
        self.disarm()
        if coroutine is not None:
            coroutine.interrupt(AsyncTimedOut() if stop is Stop.TIMEOUT else AsyncCancelled())
        else:
            raise TimedOut if stop is Stop.TIMEOUT else Cancelled


class Interruptible:
    """An awaitable around a coroutine, that turns asyncio's cancellation into ours."""

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine
        self._interruption: asyncio.CancelledError | None = None
        self._task: asyncio.Task[Any] | None = None

    async def run(self) -> Any:
        self._task = asyncio.current_task()
        return await self

    def interrupt(self, interruption: asyncio.CancelledError) -> None:
        """Called from the signal handler, which may interrupt the loop anywhere: only asks it to cancel."""
        self._interruption = interruption
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        error: BaseException | None = self._interruption
        while True:
            try:
                awaited = steps.send(None) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value
            try:
                yield awaited
                error = None
            except asyncio.CancelledError as cancelled:
                error, self._interruption = self._interruption or cancelled, None

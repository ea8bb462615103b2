"""Runs the attempts of ``async`` tasks, many at the same time, in an event loop on a thread of its own.

So a sync task in the main thread does not hold them up, nor they it, beyond sharing the interpreter.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from steeple.domain.job import Claim, ClaimedJob
from steeple.domain.outcome import Outcome
from steeple.errors import Cancelled, TimedOut
from steeple.task import Task
from steeple.telemetry import events
from steeple.worker.attempt import Attempt, encode_result
from steeple.worker.board import SYNC, Seat, Stop
from steeple.worker.reporter import SlotReporter

OnEnd = Callable[[Attempt, Outcome | None], None]
"""Told how an attempt ended; None for one that the worker's shutdown cut short."""


class AsyncCancelled(Cancelled, asyncio.CancelledError):
    """``Cancelled`` for a coroutine, where ``except asyncio.CancelledError`` is just as good.

    A ``TaskGroup`` cancels its tasks and passes it on in a group, as it does with any exception of its body.
    """


class AsyncTimedOut(TimedOut, asyncio.CancelledError):
    """``TimedOut`` for a coroutine."""


class Coroutines:
    """The main thread starts them, and waits here for some to end. The loop begins with the first."""

    def __init__(self, seat: Seat, reporter: SlotReporter, limit: int, on_end: OnEnd) -> None:
        self._seat = seat
        self._reporter = reporter
        self._limit = limit
        self._on_end = on_end
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._free = [number for number in reversed(range(len(seat.places))) if number != SYNC]
        self._running: dict[Claim, _Coroutine] = {}
        self._has_ended = threading.Event()
        self.is_stuck = False
        """One of them blocks the loop: no more should be started."""
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def room(self) -> int:
        """How many more may be started."""
        return len(self._free)

    @property
    def claims(self) -> set[Claim]:
        """Those that run or are about to."""
        with self._lock:
            return {*self._running, *(each.claim for each in self._waiting)}

    @property
    def is_busy(self) -> bool:
        return bool(self._running or self._waiting)

    @property
    def is_exclusive(self) -> bool:
        """One of them ran in a slot that died: nothing else should run beside it."""
        with self._lock:
            return any(each.attempt.job.crashes for each in self._running.values())

    def start(self, job: ClaimedJob, task: Task[Any, Any]) -> None:
        """Have the loop start one, for which there must be room."""
        with self._lock:
            self._waiting.append(_Waiting(job, task, self._free.pop(), monotonic()))
        self._begun_loop().call_soon_threadsafe(self._begin_next)

    def take_back(self, patience: float) -> list[Claim]:
        """Those that the loop has not begun for so many seconds, as when one of them blocks it. They never begin."""
        oldest = monotonic() - patience
        with self._lock:
            taken = []
            while self._waiting and self._waiting[0].since < oldest:
                taken.append(self._waiting.popleft())
            self._free += [each.number for each in taken]
            self.is_stuck = self.is_stuck or bool(taken)
        return [each.claim for each in taken]

    def wait(self, seconds: float) -> None:
        """Until one has ended since the last call, or so long."""
        self._has_ended.wait(seconds)
        self._has_ended.clear()

    def look(self) -> None:
        """Some may have been asked to stop. Called from the signal handler: it only asks the loop to look."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop_those_asked)

    def _begun_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_serve, args=[self._loop], name="coroutines", daemon=True).start()
        return self._loop

    def _begin_next(self) -> None:
        self.is_stuck = False
        with self._lock:
            if not self._waiting:
                return
            waiting = self._waiting.popleft()
            coroutine = _Coroutine(Attempt.begin(waiting.job, waiting.task, self._seat, waiting.number))
            self._running[waiting.claim] = coroutine
        coroutine.task = asyncio.get_running_loop().create_task(self._run(coroutine, waiting.number))

    async def _run(self, coroutine: "_Coroutine", number: int) -> None:
        attempt = coroutine.attempt
        outcome = await self._outcome(coroutine)
        attempt.place.end()
        self._on_end(attempt, outcome)
        with self._lock:
            del self._running[attempt.claim]
            self._free.append(number)
        self._has_ended.set()

    async def _outcome(self, coroutine: "_Coroutine") -> Outcome | None:
        attempt = coroutine.attempt
        try:
            value = await coroutine.run(attempt.task.function(**attempt.arguments(self._reporter)))
        except BaseException as error:  # noqa: BLE001 - SystemExit and the like end the attempt, not the slot
            return attempt.outcome_of(error)
        return encode_result(value, self._limit)

    def _stop_those_asked(self) -> None:
        with self._lock:
            running = list(self._running.values())
        for coroutine in running:
            coroutine.stop_if_asked()


@dataclass(frozen=True)
class _Waiting:
    """A job on its way into the loop; ``number`` is its place on the board."""

    job: ClaimedJob
    task: Task[Any, Any]
    number: int
    since: float

    @property
    def claim(self) -> Claim:
        return Claim(self.job.id, self.job.fence)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio lets SystemExit of any task end the loop; ours goes on for the others."""
    while True:
        try:
            loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - it has been set as that task's outcome, too
            events.coroutine_exited(error)


class _Coroutine:
    """An attempt in the loop. Turns asyncio's cancellation into ours, where it is ours."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.task: asyncio.Task[None] | None = None
        self._is_told = False
        self._interruption: asyncio.CancelledError | None = None
        self._body: Any = None

    async def run(self, body: Any) -> Any:
        self._body = body
        self.stop_if_asked()
        return await self

    def stop_if_asked(self) -> None:
        """Once: what the task does with it is its own affair."""
        stop = self.attempt.asked_to_stop()
        if stop is None or self._is_told or self.task is None or self._body is None:
            return
        self._is_told = True
        self._interruption = AsyncTimedOut() if stop is Stop.TIMEOUT else AsyncCancelled()
        self.task.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._body.__await__()
        error: BaseException | None = None
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

"""Stores new jobs: submits that come at the same time share one INSERT and one commit."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from steeple.api.problem_kinds import Kind
from steeple.api.problems import refusal
from steeple.domain.job import NewJob
from steeple.domain.priority import Lane
from steeple.store.children import CONFIRMED_AT_ONCE, confirm, insert_all, insert_some
from steeple.store.database import Database
from steeple.store.engine import Connection, is_unavailable
from steeple.store.inbox import insert_jobs
from steeple.store.inbox_answers import Accepted, Answer
from steeple.store.inbox_line import HeldUp, InboxLine
from steeple.telemetry import events

_MOST_JOBS = 1000
_MOST_BYTES = 4 * 1024 * 1024
"""Of arguments; what one INSERT takes."""

_MOST_WAITING = 20_000
_MOST_PATIENT = 3
"""Jobs that wait for a key at the same time, each with a connection of its own."""


@dataclass(frozen=True)
class _Waiting:
    job: NewJob
    answer: "asyncio.Future[Accepted]"


class Inbox:
    """As many transactions at a time as there are ``lines``: while one waits for its commit, the next is made ready.

    Jobs with unique keys go by lines of their own, if there are ``keyed`` ones, which should not wait long for a lock:
    who holds such a key in a long transaction must hold up nobody else, so a job that waits for that does so by itself.
    ``wake`` is told the lanes of jobs that are due, once they are committed.
    """

    def __init__(
        self,
        lines: Sequence[InboxLine],
        batches: Database,
        wake: Callable[[Mapping[Lane, int]], None],
        *,
        keyed: Sequence[InboxLine] = (),
    ) -> None:
        self._batches = batches
        self._wake = wake
        self._plain = _Group(lines, self._tell, self._store_patiently)
        self._keyed = _Group(keyed, self._tell, self._store_patiently) if keyed else self._plain
        self._patient = asyncio.Semaphore(_MOST_PATIENT)

    async def put(self, job: NewJob) -> Accepted:
        """Store a job. Raises ``UniqueKeyHeld``, ``IdempotencyKeyReused``, or what the database does.

        ``InvalidJob`` if it waits for a job that does not exist.
        """
        if job.after:
            (answer,) = await self.put_batch([job], partial=True)
            if isinstance(answer, Accepted):
                return answer
            raise answer
        return await (self._plain if job.unique_key is None else self._keyed).put(job)

    async def put_batch(self, jobs: Sequence[NewJob], *, partial: bool) -> list[Answer]:
        """Store jobs in one transaction; unless ``partial``, all of them or, if one is refused, none."""
        insert = insert_some if partial else insert_all
        answers = await self._batches.run(lambda connection: insert(connection, jobs))
        if partial or all(isinstance(answer, Accepted) for answer in answers):
            self._tell(jobs, answers)
            await self.confirm([job.id for job in jobs if job.after])
        return answers

    async def confirm(self, children: Sequence[UUID]) -> None:
        """Have stored jobs wait for their parents. What is stored stays so: should it fail, the scheduler does it."""
        try:
            for start in range(0, len(children), CONFIRMED_AT_ONCE):
                part = children[start : start + CONFIRMED_AT_ONCE]
                if due := await self._batches.run(_confirming(part)):
                    self._wake(due)
        except Exception as error:
            if not is_unavailable(error):
                raise
            events.database_failed(error)

    async def close(self) -> None:
        """Let go of the connections, once nothing is being stored."""
        for group in {self._plain, self._keyed}:
            await group.close()

    async def _store_patiently(self, job: NewJob) -> Answer:
        """Wait for whoever holds the job's key, as long as everybody waits for locks."""
        async with self._patient:
            return (await self._batches.run(lambda connection: insert_jobs(connection, [job])))[0]

    def _tell(self, jobs: Sequence[NewJob], answers: Sequence[Answer]) -> None:
        due: dict[Lane, int] = {}
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, Accepted) and answer.has_become_due and not job.after:
                lane = Lane(job.queue, job.priority)
                due[lane] = due.get(lane, 0) + 1
        if due:
            self._wake(due)


class _Group:
    """Submits that share transactions."""

    def __init__(
        self,
        lines: Sequence[InboxLine],
        tell: Callable[[Sequence[NewJob], Sequence[Answer]], None],
        store_patiently: Callable[[NewJob], Awaitable[Answer]],
    ) -> None:
        self._idle = list(lines)
        self._tell = tell
        self._store_patiently = store_patiently
        self._waiting: deque[_Waiting] = deque()
        self._storing: set[asyncio.Task[None]] = set()

    async def put(self, job: NewJob) -> Accepted:
        if len(self._waiting) >= _MOST_WAITING:
            raise refusal(Kind.UNAVAILABLE, f"{_MOST_WAITING} submits are waiting for the database already")
        waiting = _Waiting(job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._idle:
            self._begin(self._store_all(self._idle.pop()))
        return await waiting.answer

    async def close(self) -> None:
        for line in self._idle:
            await line.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        storing = asyncio.create_task(work)
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)

    async def _store_all(self, line: InboxLine) -> None:
        try:
            while self._waiting:
                await self._store(line, self._take())
        finally:
            self._idle.append(line)

    def _take(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        size = 0
        while self._waiting and len(taken) < _MOST_JOBS and size < _MOST_BYTES:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].job.args)
        return taken

    async def _store(self, line: InboxLine, batch: Sequence[_Waiting]) -> None:
        jobs = [waiting.job for waiting in batch]
        try:
            answers = await line.insert(jobs)
        except Exception as error:  # noqa: BLE001 - whatever it is, each submitter gets it
            if len(batch) > 1 and (isinstance(error, HeldUp) or not is_unavailable(error)):
                for waiting in batch:
                    await self._store(line, [waiting])
            elif isinstance(error, HeldUp):
                self._begin(self._wait_apart(batch[0]))
            else:
                _fail(batch, error)
            return
        self._tell(jobs, answers)
        for waiting, answer in zip(batch, answers, strict=True):
            _hand_over(waiting, answer)

    async def _wait_apart(self, waiting: _Waiting) -> None:
        try:
            answer = await self._store_patiently(waiting.job)
        except Exception as error:  # noqa: BLE001 - whatever it is, the submitter gets it
            _fail([waiting], error)
            return
        self._tell([waiting.job], [answer])
        _hand_over(waiting, answer)


def _hand_over(waiting: _Waiting, answer: Answer) -> None:
    if waiting.answer.done():  # its request was given up
        return
    if isinstance(answer, Accepted):
        waiting.answer.set_result(answer)
    else:
        waiting.answer.set_exception(answer)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


def _confirming(children: Sequence[UUID]) -> Callable[[Connection], dict[Lane, int]]:
    return lambda connection: confirm(connection, children)

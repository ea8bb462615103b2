"""Stores new jobs: submits that come at the same time share one INSERT and one commit."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from steeple.api.problem_kinds import Kind
from steeple.api.problems import refusal
from steeple.domain.job import NewJob
from steeple.domain.priority import Lane
from steeple.store.children import CONFIRMED_AT_ONCE, confirm, insert_all, insert_some
from steeple.store.database import Database
from steeple.store.engine import Connection, is_unavailable
from steeple.store.inbox import Accepted, Answer
from steeple.store.inbox_line import InboxLine
from steeple.telemetry import events

_MOST_JOBS = 1000
_MOST_BYTES = 4 * 1024 * 1024
"""Of arguments; what one INSERT takes."""

_MOST_WAITING = 20_000


@dataclass(frozen=True)
class _Waiting:
    job: NewJob
    answer: "asyncio.Future[Accepted]"


class Inbox:
    """As many transactions at a time as there are ``lines``: while one waits for its commit, the next is made ready.

    ``wake`` is told the lanes of jobs that are due, once they are committed.
    """

    def __init__(
        self, lines: Sequence[InboxLine], batches: Database, wake: Callable[[Mapping[Lane, int]], None]
    ) -> None:
        self._idle = list(lines)
        self._batches = batches
        self._wake = wake
        self._waiting: deque[_Waiting] = deque()
        self._storing: set[asyncio.Task[None]] = set()

    async def put(self, job: NewJob) -> Accepted:
        """Store a job. Raises ``UniqueKeyHeld``, ``IdempotencyKeyReused``, or what the database does.

        ``InvalidJob`` if it waits for a job that does not exist.
        """
        if job.after:
            (answer,) = await self.put_batch([job], partial=True)
            if isinstance(answer, Accepted):
                return answer
            raise answer
        if len(self._waiting) >= _MOST_WAITING:
            raise refusal(Kind.UNAVAILABLE, f"{_MOST_WAITING} submits are waiting for the database already")
        waiting = _Waiting(job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._idle:
            storing = asyncio.create_task(self._store_all(self._idle.pop()))
            self._storing.add(storing)
            storing.add_done_callback(self._storing.discard)
        return await waiting.answer

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
        for line in self._idle:
            await line.close()

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
            if len(batch) > 1 and not is_unavailable(error):
                for waiting in batch:
                    await self._store(line, [waiting])
            else:
                _fail(batch, error)
            return
        self._tell(jobs, answers)
        for waiting, answer in zip(batch, answers, strict=True):
            _hand_over(waiting, answer)

    def _tell(self, jobs: Sequence[NewJob], answers: Sequence[Answer]) -> None:
        due: dict[Lane, int] = {}
        for job, answer in zip(jobs, answers, strict=True):
            if job.after or not isinstance(answer, Accepted) or answer.is_replay:
                continue
            if answer.run_at <= answer.created_at:
                lane = Lane(job.queue, job.priority)
                due[lane] = due.get(lane, 0) + 1
        if due:
            self._wake(due)


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

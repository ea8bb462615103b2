"""The client for asyncio. Only sends and waits: what is sent, read and tried again is decided in ``wire``."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from steeple.client import models, transport, wire
from steeple.client.errors import TransportError, Unavailable
from steeple.client.options import BatchJob, JobChanges, JobFilters, Rate, SubmitOptions

T = TypeVar("T")


class AsyncClient:
    """Talks to a Steeple API from one event loop; close it, or use it in an ``async with`` statement.

    Every method raises ``ClientError``; the tree is in ``steeple.client.errors``. Calls that may be repeated safely
    (all that read, and ``submit``) are tried 3 times when the connection breaks or the API answers 503.

    Args:
        url: where the API answers, such as ``http://127.0.0.1:8080``.
        api_key: a key of ``steeple keys create``; not needed on loopback without keys.
        timeout: seconds to wait for the connection, and for each answer on top of a wait that was asked for.
    """

    def __init__(self, url: str, api_key: str | None = None, *, timeout: float = 10.0) -> None:
        self._http = httpx2.AsyncClient(**transport.settings(url, api_key, timeout))
        self._timeout = timeout
        self.url = url

    async def submit(
        self, task: str, args: Mapping[str, Any] | None = None, **options: Unpack[SubmitOptions]
    ) -> models.Job:
        """Submit a job. Raises ``InvalidRequest``, or ``Conflict`` if an active job holds its ``unique_key``."""
        return await self._send(wire.submit(task, args, options))

    async def submit_batch(self, jobs: Sequence[BatchJob], *, partial: bool = False) -> list[models.BatchItem]:
        """Submit up to 10,000 jobs, all or nothing unless ``partial``. Not tried again once it may have arrived."""
        return await self._send(wire.submit_batch(jobs, partial=partial))

    async def wait(self, job_id: str, timeout: float | None = None) -> models.Job:  # noqa: ASYNC109 - the name of both
        """The job when it has ended, in whichever state. Raises ``WaitTimeout`` after ``timeout`` seconds."""
        waiting = wire.Waiting(job_id, timeout, since=time.monotonic())
        while True:
            asked = time.monotonic()
            job = await self._send(waiting.request(asked))
            answered = time.monotonic()
            if waiting.is_over(job, answered):
                return job
            await asyncio.sleep(waiting.pause(answered - asked, answered))

    async def get(self, job_id: str) -> models.Job:
        return await self._send(wire.get(job_id))

    async def jobs(self, *, limit: int | None = None, **filters: Unpack[JobFilters]) -> AsyncIterator[models.Job]:
        """Jobs that match, newest first, at most ``limit``. Pages are fetched as they are needed."""
        listing = wire.Listing.of(filters, limit)
        while listing is not None:
            page = await self._send(listing.request())
            for job in listing.jobs_of(page):
                yield job
            listing = listing.after(page)

    async def cancel(self, job_id: str) -> models.Job:
        """Cancel a job: pending, at once; running, soon. Raises ``Conflict`` if it has ended."""
        return await self._send(wire.cancel(job_id))

    async def retry(self, job_id: str) -> models.Job:
        """Run a job that has ended once more. Raises ``Conflict`` if it has not ended."""
        return await self._send(wire.retry(job_id))

    async def update(self, job_id: str, **changes: Unpack[JobChanges]) -> models.Job:
        """Change a pending job. Raises ``Conflict`` if it is no longer pending."""
        return await self._send(wire.update(job_id, changes))

    async def attempts(self, job_id: str) -> list[models.Attempt]:
        return await self._send(wire.attempts(job_id))

    async def logs(self, job_id: str) -> list[models.LogLine]:
        return await self._send(wire.logs(job_id))

    async def why(self, job_id: str) -> list[models.Reason]:
        """Why a job does not run, or where it does: the reasons in the order in which they would have to go."""
        return await self._send(wire.why(job_id))

    async def tasks(self) -> list[models.Task]:
        return await self._send(wire.tasks())

    async def queues(self) -> list[models.Queue]:
        return await self._send(wire.queues())

    async def workers(self) -> list[models.Worker]:
        return await self._send(wire.workers())

    async def limits(self) -> AsyncIterator[models.Limit]:
        """All limits, by key."""
        cursor: str | None = None
        while True:
            found, cursor = await self._send(wire.limits(cursor))
            for each in found:
                yield each
            if cursor is None:
                return

    async def set_limit(self, key: str, *, max_running: int | None = None, rate: Rate | None = None) -> models.Limit:
        """Limit how many jobs that name ``key`` run at once, or start in a time, in place of what was set for it."""
        return await self._send(wire.set_limit(key, max_running, rate))

    async def delete_limit(self, key: str) -> None:
        await self._send(wire.delete_limit(key))

    async def weights(self) -> AsyncIterator[models.Weight]:
        """The weights that were set, by fair key; every other key weighs 1."""
        cursor: str | None = None
        while True:
            found, cursor = await self._send(wire.weights(cursor))
            for each in found:
                yield each
            if cursor is None:
                return

    async def set_weight(self, fair_key: str, weight: float) -> models.Weight:
        """Have a fair key start so many jobs while one of weight 1 starts one."""
        return await self._send(wire.set_weight(fair_key, weight))

    async def delete_weight(self, fair_key: str) -> None:
        await self._send(wire.delete_weight(fair_key))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, request: wire.Request[T]) -> T:
        tries = 0
        while True:
            tries += 1
            try:
                return request.read(await self._exchange(request))
            except (TransportError, Unavailable) as error:
                pause = wire.pause_before_retry(request, error, tries, random.random())  # noqa: S311 - no secret
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def _exchange(self, request: wire.Request[Any]) -> wire.Reply:
        try:
            return transport.reply(await self._http.request(**transport.arguments(request, self._timeout)))
        except httpx2.RequestError as error:
            raise transport.fault(error, self.url) from error

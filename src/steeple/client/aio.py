"""The client for asyncio. Only sends and waits: what is sent, read and tried again is decided in ``wire``."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from steeple.client import models, operations, transport, wire, wire_limits, wire_queues
from steeple.client.errors import TransportError, Unavailable
from steeple.client.options import BatchJob, JobChanges, JobFilters, QueueChanges, Rate, SubmitOptions

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

    async def queue(self, name: str) -> models.Queue:
        return await self._send(wire_queues.show(name))

    async def pause_queue(self, name: str, note: str | None = None) -> models.Queue:
        """No job of the queue is started any more; those that run go on."""
        return await self._send(wire_queues.pause(name, note))

    async def resume_queue(self, name: str) -> models.Queue:
        return await self._send(wire_queues.resume(name))

    async def drain_queue(self, name: str, note: str | None = None) -> models.Queue:
        """Pause the queue; ask for it again until ``drained``: then nothing of it runs any more."""
        return await self._send(wire_queues.drain(name, note))

    async def purge_queue(self, name: str, *, dry_run: bool = False) -> models.Purge:
        """Cancel what is pending in the queue, or only count it. Takes 10 s at most; see what is ``remaining``."""
        return await self._send(wire_queues.purge(name, dry_run=dry_run))

    async def update_queue(self, name: str, **changes: Unpack[QueueChanges]) -> models.Queue:
        return await self._send(wire_queues.update(name, changes))

    async def workers(self) -> list[models.Worker]:
        return await self._send(wire.workers())

    async def send(self, request: wire.Request[T]) -> T:
        """Send a request that ``steeple.client.schedules`` builds, and read the reply."""
        return await self._send(request)

    async def operate(
        self,
        action: str,
        *,
        changes: Mapping[str, str] | None = None,
        everything: bool = False,
        idempotency_key: str | None = None,
        **filters: Unpack[JobFilters],
    ) -> models.Operation:
        """Act on every job that matches now: ``cancel``, ``retry``, ``delete``, ``reprioritise`` or ``move``.

        The last two set something: ``changes={"priority": "high"}``, ``changes={"queue": "slow"}``. Without filters it
        needs ``everything``. It goes on by itself: see ``wait_for_operation``.
        """
        request = operations.operate(action, filters, changes, everything=everything, idempotency_key=idempotency_key)
        return await self._send(request)

    async def preview(
        self,
        action: str,
        *,
        changes: Mapping[str, str] | None = None,
        everything: bool = False,
        **filters: Unpack[JobFilters],
    ) -> models.OperationPreview:
        """How many jobs ``operate`` would cover, and a few of them. Nothing is done."""
        return await self._send(operations.preview(action, filters, changes, everything=everything))

    async def operation(self, operation_id: str) -> models.Operation:
        return await self._send(operations.get(operation_id))

    async def operations(
        self, *, limit: int | None = None, state: str | Sequence[str] = ()
    ) -> AsyncIterator[models.Operation]:
        """Operations, newest first, at most ``limit``. Pages are fetched as they are needed."""
        listing = operations.OperationListing.of(limit, state)
        while listing is not None:
            page = await self._send(listing.request())
            for operation in page.operations:
                yield operation
            listing = listing.after(page)

    async def wait_for_operation(self, operation_id: str, timeout: float | None = None) -> models.Operation:  # noqa: ASYNC109
        """The operation when it is over. Raises ``OperationTimeout`` after ``timeout`` seconds."""
        waiting = operations.OperationWaiting(operation_id, timeout, since=time.monotonic())
        while True:
            operation = await self._send(waiting.request())
            if waiting.is_over(operation, time.monotonic()):
                return operation
            await asyncio.sleep(waiting.pause)
            waiting = waiting.longer()

    async def abort(self, operation_id: str) -> models.Operation:
        """End an operation: from now on it acts on no job. Raises ``Conflict`` if it is done."""
        return await self._send(operations.abort(operation_id))

    async def limits(self) -> AsyncIterator[models.Limit]:
        """All limits, by key."""
        cursor: str | None = None
        while True:
            found, cursor = await self._send(wire_limits.limits(cursor))
            for each in found:
                yield each
            if cursor is None:
                return

    async def set_limit(self, key: str, *, max_running: int | None = None, rate: Rate | None = None) -> models.Limit:
        """Limit how many jobs that name ``key`` run at once, or start in a time, in place of what was set for it."""
        return await self._send(wire_limits.set_limit(key, max_running, rate))

    async def delete_limit(self, key: str) -> None:
        await self._send(wire_limits.delete_limit(key))

    async def weights(self) -> AsyncIterator[models.Weight]:
        """The weights that were set, by fair key; every other key weighs 1."""
        cursor: str | None = None
        while True:
            found, cursor = await self._send(wire_limits.weights(cursor))
            for each in found:
                yield each
            if cursor is None:
                return

    async def set_weight(self, fair_key: str, weight: float) -> models.Weight:
        """Have a fair key start so many jobs while one of weight 1 starts one."""
        return await self._send(wire_limits.set_weight(fair_key, weight))

    async def delete_weight(self, fair_key: str) -> None:
        await self._send(wire_limits.delete_weight(fair_key))

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

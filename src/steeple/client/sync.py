"""The client for ordinary code. Only sends and waits: what is sent, read and tried again is decided in ``wire``."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from steeple.client import models, operations, transport, wire, wire_limits, wire_queues
from steeple.client.errors import TransportError, Unavailable
from steeple.client.options import BatchJob, JobChanges, JobFilters, QueueChanges, Rate, SubmitOptions

T = TypeVar("T")


class Client:
    """Talks to a Steeple API. Safe to share between threads; close it, or use it in a ``with`` statement.

    Every method raises ``ClientError``; the tree is in ``steeple.client.errors``. Calls that may be repeated safely
    (all that read, and ``submit``) are tried 3 times when the connection breaks or the API answers 503.

    Args:
        url: where the API answers, such as ``http://127.0.0.1:8080``.
        api_key: a key of ``steeple keys create``; not needed on loopback without keys.
        timeout: seconds to wait for the connection, and for each answer on top of a wait that was asked for.
    """

    def __init__(self, url: str, api_key: str | None = None, *, timeout: float = 10.0) -> None:
        self._http = httpx2.Client(**transport.settings(url, api_key, timeout))
        self._timeout = timeout
        self.url = url

    def submit(self, task: str, args: Mapping[str, Any] | None = None, **options: Unpack[SubmitOptions]) -> models.Job:
        """Submit a job. Raises ``InvalidRequest``, or ``Conflict`` if an active job holds its ``unique_key``."""
        return self._send(wire.submit(task, args, options))

    def submit_batch(self, jobs: Sequence[BatchJob], *, partial: bool = False) -> list[models.BatchItem]:
        """Submit up to 10,000 jobs, all or nothing unless ``partial``. Not tried again once it may have arrived."""
        return self._send(wire.submit_batch(jobs, partial=partial))

    def wait(self, job_id: str, timeout: float | None = None) -> models.Job:
        """The job when it has ended, in whichever state. Raises ``WaitTimeout`` after ``timeout`` seconds."""
        waiting = wire.Waiting(job_id, timeout, since=time.monotonic())
        while True:
            asked = time.monotonic()
            job = self._send(waiting.request(asked))
            answered = time.monotonic()
            if waiting.is_over(job, answered):
                return job
            time.sleep(waiting.pause(answered - asked, answered))

    def get(self, job_id: str) -> models.Job:
        return self._send(wire.get(job_id))

    def jobs(self, *, limit: int | None = None, **filters: Unpack[JobFilters]) -> Iterator[models.Job]:
        """Jobs that match, newest first, at most ``limit``. Pages are fetched as they are needed."""
        listing = wire.Listing.of(filters, limit)
        while listing is not None:
            page = self._send(listing.request())
            yield from listing.jobs_of(page)
            listing = listing.after(page)

    def cancel(self, job_id: str) -> models.Job:
        """Cancel a job: pending, at once; running, soon. Raises ``Conflict`` if it has ended."""
        return self._send(wire.cancel(job_id))

    def retry(self, job_id: str) -> models.Job:
        """Run a job that has ended once more. Raises ``Conflict`` if it has not ended."""
        return self._send(wire.retry(job_id))

    def update(self, job_id: str, **changes: Unpack[JobChanges]) -> models.Job:
        """Change a pending job. Raises ``Conflict`` if it is no longer pending."""
        return self._send(wire.update(job_id, changes))

    def attempts(self, job_id: str) -> list[models.Attempt]:
        return self._send(wire.attempts(job_id))

    def logs(self, job_id: str) -> list[models.LogLine]:
        return self._send(wire.logs(job_id))

    def why(self, job_id: str) -> list[models.Reason]:
        """Why a job does not run, or where it does: the reasons in the order in which they would have to go."""
        return self._send(wire.why(job_id))

    def tasks(self) -> list[models.Task]:
        return self._send(wire.tasks())

    def queues(self) -> list[models.Queue]:
        return self._send(wire.queues())

    def queue(self, name: str) -> models.Queue:
        return self._send(wire_queues.show(name))

    def pause_queue(self, name: str, note: str | None = None) -> models.Queue:
        """No job of the queue is started any more; those that run go on."""
        return self._send(wire_queues.pause(name, note))

    def resume_queue(self, name: str) -> models.Queue:
        return self._send(wire_queues.resume(name))

    def drain_queue(self, name: str, note: str | None = None) -> models.Queue:
        """Pause the queue; ask for it again until ``drained``: then nothing of it runs any more."""
        return self._send(wire_queues.drain(name, note))

    def purge_queue(self, name: str, *, dry_run: bool = False) -> models.Purge:
        """Cancel what is pending in the queue, or only count it. Takes 10 s at most; see what is ``remaining``."""
        return self._send(wire_queues.purge(name, dry_run=dry_run))

    def update_queue(self, name: str, **changes: Unpack[QueueChanges]) -> models.Queue:
        return self._send(wire_queues.update(name, changes))

    def workers(self) -> list[models.Worker]:
        return self._send(wire.workers())

    def send(self, request: wire.Request[T]) -> T:
        """Send a request that ``steeple.client.schedules`` builds, and read the reply."""
        return self._send(request)

    def operate(
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
        return self._send(request)

    def preview(
        self,
        action: str,
        *,
        changes: Mapping[str, str] | None = None,
        everything: bool = False,
        **filters: Unpack[JobFilters],
    ) -> models.OperationPreview:
        """How many jobs ``operate`` would cover, and a few of them. Nothing is done."""
        return self._send(operations.preview(action, filters, changes, everything=everything))

    def operation(self, operation_id: str) -> models.Operation:
        return self._send(operations.get(operation_id))

    def operations(self, *, limit: int | None = None, state: str | Sequence[str] = ()) -> Iterator[models.Operation]:
        """Operations, newest first, at most ``limit``. Pages are fetched as they are needed."""
        listing = operations.OperationListing.of(limit, state)
        while listing is not None:
            page = self._send(listing.request())
            yield from page.operations
            listing = listing.after(page)

    def wait_for_operation(self, operation_id: str, timeout: float | None = None) -> models.Operation:
        """The operation when it is over. Raises ``OperationTimeout`` after ``timeout`` seconds."""
        waiting = operations.OperationWaiting(operation_id, timeout, since=time.monotonic())
        while True:
            operation = self._send(waiting.request())
            if waiting.is_over(operation, time.monotonic()):
                return operation
            time.sleep(waiting.pause)
            waiting = waiting.longer()

    def abort(self, operation_id: str) -> models.Operation:
        """End an operation: from now on it acts on no job. Raises ``Conflict`` if it is done."""
        return self._send(operations.abort(operation_id))

    def limits(self) -> Iterator[models.Limit]:
        """All limits, by key."""
        cursor: str | None = None
        while True:
            found, cursor = self._send(wire_limits.limits(cursor))
            yield from found
            if cursor is None:
                return

    def set_limit(self, key: str, *, max_running: int | None = None, rate: Rate | None = None) -> models.Limit:
        """Limit how many jobs that name ``key`` run at once, or start in a time, in place of what was set for it."""
        return self._send(wire_limits.set_limit(key, max_running, rate))

    def delete_limit(self, key: str) -> None:
        self._send(wire_limits.delete_limit(key))

    def weights(self) -> Iterator[models.Weight]:
        """The weights that were set, by fair key; every other key weighs 1."""
        cursor: str | None = None
        while True:
            found, cursor = self._send(wire_limits.weights(cursor))
            yield from found
            if cursor is None:
                return

    def set_weight(self, fair_key: str, weight: float) -> models.Weight:
        """Have a fair key start so many jobs while one of weight 1 starts one."""
        return self._send(wire_limits.set_weight(fair_key, weight))

    def delete_weight(self, fair_key: str) -> None:
        self._send(wire_limits.delete_weight(fair_key))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, request: wire.Request[T]) -> T:
        tries = 0
        while True:
            tries += 1
            try:
                return request.read(self._exchange(request))
            except (TransportError, Unavailable) as error:
                pause = wire.pause_before_retry(request, error, tries, random.random())  # noqa: S311 - no secret
                if pause is None:
                    raise
            time.sleep(pause)

    def _exchange(self, request: wire.Request[Any]) -> wire.Reply:
        try:
            return transport.reply(self._http.request(**transport.arguments(request, self._timeout)))
        except httpx2.RequestError as error:
            raise transport.fault(error, self.url) from error

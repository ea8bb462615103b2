"""The client for ordinary code. Only sends and waits: what is sent, read and tried again is decided in ``wire``."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from steeple.client import models, transport, wire
from steeple.client.errors import TransportError, Unavailable
from steeple.client.options import BatchJob, JobChanges, JobFilters, Rate, SubmitOptions

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

    def workers(self) -> list[models.Worker]:
        return self._send(wire.workers())

    def limits(self) -> Iterator[models.Limit]:
        """All limits, by key."""
        cursor: str | None = None
        while True:
            found, cursor = self._send(wire.limits(cursor))
            yield from found
            if cursor is None:
                return

    def set_limit(self, key: str, *, max_running: int | None = None, rate: Rate | None = None) -> models.Limit:
        """Limit how many jobs that name ``key`` run at once, or start in a time, in place of what was set for it."""
        return self._send(wire.set_limit(key, max_running, rate))

    def delete_limit(self, key: str) -> None:
        self._send(wire.delete_limit(key))

    def weights(self) -> Iterator[models.Weight]:
        """The weights that were set, by fair key; every other key weighs 1."""
        cursor: str | None = None
        while True:
            found, cursor = self._send(wire.weights(cursor))
            yield from found
            if cursor is None:
                return

    def set_weight(self, fair_key: str, weight: float) -> models.Weight:
        """Have a fair key start so many jobs while one of weight 1 starts one."""
        return self._send(wire.set_weight(fair_key, weight))

    def delete_weight(self, fair_key: str) -> None:
        self._send(wire.delete_weight(fair_key))

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

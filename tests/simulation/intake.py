"""APIs: the product's own inbox, with its group commit, and its routes that change jobs; each an event loop by itself.

While one of its statements is stopped, all of the API stands still, as one loop does; two APIs get in each other's way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from actors import Actor
from crew import Surroundings
from history import Call
from people import REFUSED, Wish, Woken
from recorder import Journal
from starlette.requests import Request
from stops import fail_if_cut

from steeple.api import job_changes
from steeple.api.group_commit import Inbox
from steeple.api.requests import NoQuery
from steeple.domain.job import NewJob
from steeple.domain.priority import Lane
from steeple.errors import IdempotencyKeyReused, InvalidJob, JobNotFound, SteepleError, UniqueKeyHeld
from steeple.store.engine import DatabaseError
from steeple.store.inbox_answers import Answer
from steeple.store.inbox_line import InboxLine

Many = Sequence[tuple[Wish, NewJob]]


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


class StoppingLine(InboxLine):
    """Whose quick way stops before and after its one statement, which goes past SQLAlchemy."""

    async def _insert_quickly(self, jobs: Sequence[NewJob]) -> list[Answer] | None:
        actor = Actor.current()
        assert actor is not None
        if self._checkout is None:
            self._checkout = await self._database.connect()
        raw: Any = await self._checkout.get_raw_connection()
        driver = raw.driver_connection
        actor.pid, actor.engine = driver.info.backend_pid, None
        actor.stop("before inbox.PLAIN_INSERT", only_if_shown=True)
        answers = await super()._insert_quickly(jobs)
        actor.stop("after inbox.PLAIN_INSERT")
        fail_if_cut(actor, driver)
        return answers


class SimulatedApi:
    """One operation at a time, each of one or several requests that came at once."""

    def __init__(self, name: str, world: Surroundings, journal: Journal, woken: Woken) -> None:
        self.actor = world.conductor.actor(name)
        self._world = world
        self._journal = journal
        self._wake = woken
        self._office = office = world.shed.take_office()
        self._about: tuple[UUID, ...] = ()
        self._retries = 0
        """Of the job that it is about, before it is retried once more."""
        self._inbox = Inbox([StoppingLine(office.single)], office.writes, self._tell)
        wakes = SimpleNamespace(wake=self._tell_of_retry)
        settings, writes, reads = world.settings, office.writes, office.single
        services = SimpleNamespace(settings=settings, writes=writes, reads=reads, wakes=wakes)
        self._app = SimpleNamespace(state=SimpleNamespace(services=services))

    def submit(self, wanted: Many) -> None:
        """Several submits that share one INSERT."""
        self._about = tuple(job.id for _, job in wanted)
        self._run(lambda: asyncio.gather(*(self._put(wish, job) for wish, job in wanted)))

    def cancel(self, job_id: UUID) -> None:
        self._change(Call.CANCEL, job_id, job_changes.cancel_job)

    def retry(self, job_id: UUID) -> None:
        self._retries = self._world.retries(job_id)
        self._change(Call.RETRY, job_id, job_changes.retry_job)

    def close(self) -> None:
        """It is no more, or the world is over."""
        self._office.clear()
        with suppress(DatabaseError):  # its connections may be lost
            self._office.loop.run_until_complete(self._inbox.close())

    async def _put(self, wish: Wish, job: NewJob) -> None:
        key = None if job.idempotency is None else (job.idempotency.owner, job.idempotency.key)
        with self._journal.asking(Call.SUBMIT, idempotency=key, request=wish.body) as asked:
            try:
                accepted = await self._inbox.put(job)
            except (UniqueKeyHeld, IdempotencyKeyReused, InvalidJob) as refusal:
                asked.refused()
                self._told(REFUSED.format(refusal))
            except DatabaseError as error:
                self._told(f"learns nothing of job {job.id.int}: {error.orig!r}")
            else:
                asked.accepted(accepted.id)
                self._told(f"answers that job {accepted.id.int} is accepted")

    def _change(self, call: Call, job_id: UUID, route: Callable[..., Awaitable[object]]) -> None:
        self._about = (job_id,)
        self._run(lambda: self._ask(call, job_id, route))

    async def _ask(self, call: Call, job_id: UUID, route: Callable[..., Awaitable[object]]) -> None:
        with self._journal.asking(call, job_id) as asked:
            try:
                await route(self._request(), None, str(job_id), NoQuery())
            except JobNotFound:  # be it that it was there, and is pruned by now
                self._told("knows of no such job")
            except SteepleError as refusal:
                asked.refused()
                self._told(REFUSED.format(refusal))
            except DatabaseError as error:
                self._told(f"learns nothing: {error.orig!r}")
            else:
                asked.accepted()
                self._told(f"answers that the {call} is done")

    def _request(self) -> Request:
        """One without a body, to a route that is called by itself."""
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [], "app": self._app}
        return Request(scope, _nothing)

    def _run(self, operation: Callable[[], Awaitable[object]]) -> None:
        async def run() -> None:
            await operation()

        self._office.loop.run_until_complete(run())

    def _tell(self, due: Mapping[Lane, int]) -> None:
        self._wake(due, self._about)

    def _tell_of_retry(self, due: Mapping[Lane, int]) -> None:
        assert self._world.retries(self._about[0]) > self._retries, "wakes a lane before its retry is committed"
        self._tell(due)

    def _told(self, what: str) -> None:
        self._world.conductor.note(self.actor, what)

"""What the operations work with: one of each per process."""

import asyncio

from fastapi import FastAPI
from starlette.requests import Request

from steeple.api.group_commit import Inbox
from steeple.api.intake import Intake
from steeple.api.keyring import Keyring
from steeple.api.known_tasks import KnownTasks
from steeple.api.readiness import Readiness
from steeple.api.recent import Laborious
from steeple.api.waiting import Watcher
from steeple.api.waking import Wakes
from steeple.app import Steeple
from steeple.settings import Settings, is_loopback
from steeple.store.database import Database
from steeple.store.inbox_line import InboxLine
from steeple.store.queues import queue_statistics

_READERS = 10
_WRITERS = 5
_SUBMITTERS = 2
"""Connections, each kind of its own: no slow listing is in the way of a submit."""


class Services:
    """Nothing is connected before it is used. For one event loop."""

    def __init__(self, app: Steeple | None, settings: Settings) -> None:
        self.settings = settings
        self.reads = Database(settings, size=_READERS, is_atomic=False)
        self.writes = Database(settings, size=_WRITERS)
        self.wakes = Wakes(settings)
        self.keyring = Keyring(self.writes, is_private=is_loopback(settings.host))
        self.tasks = KnownTasks(app, self.reads)
        self.queues = Laborious(lambda: self.reads.run(queue_statistics))
        self.intake = Intake(self.tasks, settings.max_args_bytes)
        self.watcher = Watcher(self.reads)
        self.readiness = Readiness(settings)
        self._submits = Database(settings, size=2 * _SUBMITTERS, is_atomic=False)
        self.inbox = Inbox([InboxLine(self._submits) for _ in range(_SUBMITTERS)], self.writes, self.wakes.wake)

    async def close(self) -> None:
        self.watcher.release()
        await asyncio.to_thread(self.wakes.close)
        await self.inbox.close()
        for database in (self._submits, self.writes, self.reads):
            await database.close()
        self.readiness.close()


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def attach(services: Services, app: FastAPI) -> None:
    app.state.services = services

"""The tasks that jobs may be submitted for: those of the app that this API was given, then those that workers have
registered."""

from collections.abc import Mapping, Set
from time import monotonic
from typing import Protocol

from steeple.api.recent import Recent
from steeple.app import Steeple
from steeple.catalogue import RegisteredTask
from steeple.errors import UnknownTask
from steeple.store.database import Database
from steeple.store.tasks import TaskRecord, all_tasks

_LOOK_AGAIN_SECONDS = 1.0


class KnownTask(Protocol):
    @property
    def record(self) -> TaskRecord: ...

    def check(self, args: str) -> None:
        """Check JSON text. Raises ``InvalidArguments``."""


class KnownTasks:
    def __init__(self, app: Steeple | None, database: Database) -> None:
        self._own = {} if app is None else app.tasks
        self._database = database
        self._known: dict[str, RegisteredTask] = {}
        self._registered = Recent(self._read, _LOOK_AGAIN_SECONDS)

    async def find(self, name: str) -> KnownTask:
        """The task of this name. Raises ``UnknownTask``."""
        own = self._own.get(name)
        if own is not None:
            return own
        return require(await self.find_all({name}), name)

    async def find_all(self, names: Set[str]) -> Mapping[str, KnownTask]:
        """The tasks of these names that there are; if some are not known, it looks for them once more."""
        found: dict[str, KnownTask] = {name: self._own[name] for name in names if name in self._own}
        asked = monotonic()
        if len(found) < len(names):
            found |= _chosen(await self._registered.get(), names - found.keys())
        if len(found) < len(names):
            found |= _chosen(await self._registered.get(since=asked), names - found.keys())
        return found

    async def all(self) -> list[TaskRecord]:
        """Every known task, by name."""
        registered = await self._registered.get()
        records = {name: task.record for name, task in registered.items()}
        records |= {name: task.record for name, task in self._own.items()}
        return [record for _, record in sorted(records.items())]

    async def _read(self) -> dict[str, RegisteredTask]:
        records = await self._database.run(all_tasks)
        self._known = {record.name: self._unchanged(record) or RegisteredTask(record) for record in records}
        return self._known

    def _unchanged(self, record: TaskRecord) -> RegisteredTask | None:
        """What was made of the same record before: preparing a schema takes a while."""
        known = self._known.get(record.name)
        return known if known is not None and known.record == record else None


def require(tasks: Mapping[str, KnownTask], name: str) -> KnownTask:
    """Raises ``UnknownTask``."""
    if name not in tasks:
        raise UnknownTask(name)
    return tasks[name]


def _chosen(tasks: Mapping[str, KnownTask], names: Set[str]) -> dict[str, KnownTask]:
    return {name: tasks[name] for name in names if name in tasks}

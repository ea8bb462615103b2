"""The tasks that schedules make jobs of: those of the scheduler's app, then those that other parts have registered."""

from time import monotonic
from typing import Any

from steeple.app import Steeple
from steeple.catalogue import RegisteredTask
from steeple.errors import UnknownTask
from steeple.store.engine import Connection
from steeple.store.tasks import TaskRecord, all_tasks

_LOOK_AGAIN_SECONDS = 1.0


class KnownTasks:
    """For one thread."""

    def __init__(self, app: Steeple | None) -> None:
        self._own: dict[str, Any] = {} if app is None else dict(app.tasks)
        self._registered: dict[str, RegisteredTask] = {}
        self._read_at = float("-inf")

    def look(self, connection: Connection) -> None:
        """Bring what is known up to date, if that was a while ago."""
        if monotonic() < self._read_at + _LOOK_AGAIN_SECONDS:
            return
        records = all_tasks(connection)
        self._registered = {record.name: self._unchanged(record) or RegisteredTask(record) for record in records}
        self._read_at = monotonic()

    def checked(self, name: str, args: str) -> TaskRecord:
        """The task, which takes these arguments. Raises ``UnknownTask``, ``InvalidArguments``."""
        task = self._own.get(name) or self._registered.get(name)
        if task is None:
            raise UnknownTask(name)
        task.check(args)
        record: TaskRecord = task.record
        return record

    def _unchanged(self, record: TaskRecord) -> RegisteredTask | None:
        """What was made of the same record before: preparing a schema takes a while."""
        known = self._registered.get(record.name)
        return known if known is not None and known.record == record else None

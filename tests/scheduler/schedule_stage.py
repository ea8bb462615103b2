"""Schedules on a playground, at a time of the test's choosing: made, fired, and looked at."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from playground import NOW, Playground, at
from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.domain.schedule import Definition, Outcome
from steeple.schedule_changes import create
from steeple.scheduler import firing
from steeple.scheduler.firing import Fired
from steeple.scheduler.known_tasks import KnownTasks
from steeple.store import fires, tasks
from steeple.store.engine import Connection
from steeple.store.fires import FireView
from steeple.store.schedules import ScheduleView, read
from steeple.store.tasks import TaskRecord

_JOBS = "SELECT id, state, args, cancel_requested_at, run_at FROM jobs WHERE schedule_id = :id ORDER BY id"


class ScheduleStage:
    """A task ``t`` is registered, which takes anything, but a number only if it is not ``bad``."""

    def __init__(self, playground: Playground) -> None:
        self.playground = playground
        self.tasks = KnownTasks(None)
        schema = {"type": "object", "properties": {"bad": {"type": "string"}}}
        record = TaskRecord("t", "", schema, "default", Priority.DEFAULT, 60.0, Retry(max_attempts=4), False)
        self.run(lambda connection: tasks.register(connection, [record]))

    def run(self, work: Callable[[Connection], Any]) -> Any:
        with self.playground.engine.begin() as connection:
            return work(connection)

    def make(self, name: str = "s", *, now: datetime = NOW, paused: bool = False, **fields: Any) -> UUID:
        """A schedule; every 60 s if nothing else is said."""
        if not {"cron", "interval", "times"} & fields.keys():
            fields["interval"] = 60.0
        given = {"task": "t", "args": "{}", "queue": "default", "priority": Priority.DEFAULT} | fields
        definition = Definition(name=name, **given)
        made: ScheduleView = self.run(
            lambda connection: create(connection, uuid7(), definition, paused=paused, now=now)
        )
        return made.id

    def read(self, schedule_id: UUID) -> ScheduleView:
        found: ScheduleView = self.run(lambda connection: read(connection, schedule_id))
        return found

    def fire(self, seconds: float) -> Fired:
        """As a scheduler does so many seconds after ``NOW``."""
        fired: Fired = self.run(lambda connection: self.fire_in(connection, seconds))
        return fired

    def fire_in(self, connection: Connection, seconds: float) -> Fired:
        return firing.fire_due(connection, self.tasks, now=at(seconds))

    def fire_waiting(self, seconds: float = 0) -> Fired:
        fired: Fired = self.run(lambda connection: firing.fire_waiting(connection, self.tasks, now=at(seconds)))
        return fired

    def fire_backfills(self, seconds: float = 0) -> Fired:
        fired: Fired = self.run(lambda connection: firing.fire_backfills(connection, self.tasks, now=at(seconds)))
        return fired

    def fires(self, schedule_id: UUID) -> list[FireView]:
        """The earliest first."""
        found: list[FireView] = self.run(lambda connection: fires.read_fires(connection, schedule_id, limit=1000))
        return found[::-1]

    def outcomes(self, schedule_id: UUID) -> list[tuple[float, Outcome]]:
        """By the seconds after ``NOW``."""
        return [((each.time - NOW).total_seconds(), each.outcome) for each in self.fires(schedule_id)]

    def jobs(self, schedule_id: UUID) -> list[Any]:
        return list(self.playground.sql(_JOBS, id=schedule_id))

    def end(self, job_id: UUID | None) -> None:
        """As if a worker had."""
        self.playground.sql("UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = :id", id=job_id)

    def begin(self, job_id: UUID | None) -> None:
        self.playground.sql("UPDATE jobs SET state = 'RUNNING', fence = 1, attempt = 1 WHERE id = :id", id=job_id)

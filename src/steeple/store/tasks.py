"""The tasks that parts have registered: what an api without the code needs to accept jobs for them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, text

from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.store.encoding import dump

# Registers a task, or brings it up to date; a row that would not change is not written.
_REGISTER = text("""
INSERT INTO tasks (name, description, schema, queue, priority, names_priority, timeout, retry, is_async, limits,
                   fair_key)
VALUES (:name, :description, CAST(:schema AS json), :queue, :priority, :names_priority, :timeout, CAST(:retry AS json),
        :is_async, :limits, :fair_key)
ON CONFLICT (name) DO UPDATE SET
    description = excluded.description, schema = excluded.schema, queue = excluded.queue,
    priority = excluded.priority, names_priority = excluded.names_priority, timeout = excluded.timeout,
    retry = excluded.retry, is_async = excluded.is_async, limits = excluded.limits, fair_key = excluded.fair_key,
    updated_at = now()
WHERE (CAST(tasks.schema AS text), tasks.description, tasks.queue, tasks.priority, tasks.names_priority, tasks.timeout,
       CAST(tasks.retry AS text), tasks.is_async, tasks.limits, tasks.fair_key)
   IS DISTINCT FROM (CAST(excluded.schema AS text), excluded.description, excluded.queue, excluded.priority,
       excluded.names_priority, excluded.timeout, CAST(excluded.retry AS text), excluded.is_async, excluded.limits,
       excluded.fair_key)
""")

# Every task that a part has registered.
_ALL = text("""
SELECT name, description, schema, queue, priority, names_priority, timeout, retry, is_async, limits, fair_key FROM tasks
ORDER BY name
""")


@dataclass(frozen=True)
class TaskRecord:
    """``schema``: the JSON Schema (2020-12) of the arguments, an object. ``timeout`` is in seconds.

    A task that does not name its priority leaves it to the queue; where that has none either, it is ``priority``.
    ``limits`` and ``fair_key`` are templates (``domain.key_templates``).
    """

    name: str
    description: str
    schema: dict[str, Any]
    queue: str
    priority: Priority
    timeout: float
    retry: Retry
    is_async: bool
    names_priority: bool = True
    limits: tuple[str, ...] = ()
    fair_key: str | None = None


def register(connection: Connection, records: Iterable[TaskRecord]) -> None:
    for record in sorted(records, key=lambda record: record.name):
        row = asdict(record) | {"priority": record.priority.rank}
        row |= {"schema": dump(record.schema), "retry": dump(row["retry"]), "limits": list(record.limits)}
        connection.execute(_REGISTER, row)


def all_tasks(connection: Connection) -> list[TaskRecord]:
    return [
        TaskRecord(
            name=row.name,
            description=row.description,
            schema=row.schema,
            queue=row.queue,
            priority=Priority.from_rank(row.priority),
            timeout=row.timeout,
            retry=Retry.stored(row.retry),
            is_async=row.is_async,
            names_priority=row.names_priority,
            limits=tuple(row.limits),
            fair_key=row.fair_key,
        )
        for row in connection.execute(_ALL)
    ]

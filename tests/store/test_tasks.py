"""The tasks that parts register."""

from dataclasses import replace

from playground import Playground
from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.store.tasks import TaskRecord, all_tasks, register

SCHEMA = {"type": "object", "properties": {"month": {"type": "string"}}}
RECORD = TaskRecord("b", "Says so.", SCHEMA, "q", Priority.LOW, 5.0, Retry(max_attempts=7), is_async=True)


def put(playground: Playground, *records: TaskRecord) -> None:
    with playground.engine.begin() as connection:
        register(connection, records)


def read(playground: Playground) -> list[TaskRecord]:
    with playground.engine.begin() as connection:
        return all_tasks(connection)


def test_tasks_read_back_as_registered_by_name(playground: Playground) -> None:
    other = replace(RECORD, name="a")
    put(playground, RECORD, other)
    assert read(playground) == [other, RECORD]


def test_a_later_registration_brings_a_task_up_to_date(playground: Playground) -> None:
    put(playground, RECORD)
    changed = replace(RECORD, description="", schema={}, queue="r", priority=Priority.HIGH, timeout=1.0, retry=Retry())
    put(playground, changed)
    assert read(playground) == [changed]


def test_whether_a_task_names_its_priority_is_kept(playground: Playground) -> None:
    for names_priority in (False, True, False):
        changed = replace(RECORD, names_priority=names_priority)
        put(playground, changed)
        assert read(playground) == [changed]


def test_a_registration_that_changes_nothing_writes_nothing(playground: Playground) -> None:
    put(playground, RECORD)
    before = playground.value("SELECT xmin FROM tasks")
    put(playground, replace(RECORD))
    assert playground.value("SELECT xmin FROM tasks") == before

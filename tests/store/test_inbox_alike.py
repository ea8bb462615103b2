"""Writing jobs that are alike: what is stored is what the other way into the inbox would store."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from playground import Playground
from steeple.domain.job import NewJob
from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.errors import UniqueKeyHeld
from steeple.store.inbox import insert_jobs
from steeple.store.inbox_alike import AlikeJobs, insert_alike
from steeple.store.inbox_answers import Accepted, Answer
from steeple.submission import new_id

MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
ARGS = ('{"a": 1.50, "b": 123456789012345678901234567890}', '{"c":"é\\"\\\\"}', "{}")


def alike(*args: str, **fields: Any) -> AlikeJobs:
    ids = [new_id() for _ in args]
    return AlikeJobs(NewJob(ids[0], "t", args[0], **fields), ids, args)


def insert(playground: Playground, jobs: AlikeJobs) -> list[Answer] | None:
    with playground.engine.begin() as connection:
        return insert_alike(connection, jobs)


def rows(playground: Playground, jobs: AlikeJobs) -> list[dict[str, Any]]:
    """All columns but those that no two jobs have in common; a time to run that was not given, by its distance."""
    found = playground.sql(
        "SELECT *, CAST(args AS text) AS args_text, run_at - created_at AS run_after FROM jobs"
        " WHERE id = ANY (:ids) ORDER BY id",
        ids=jobs.ids,
    )
    own = {"id", "created_at", "run_at" if jobs.pattern.run_at is None else "run_after"}
    return [{name: value for name, value in row._mapping.items() if name not in own} for row in found]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"delay": 90.5},
        {"run_at": MOMENT},
        {"tags": ("a", 'b"\\', "{,}", "NULL", " "), "queue": "q", "priority": Priority.LOW},
        {"expires_at": MOMENT, "timeout": 0.1, "max_attempts": 7, "retry": Retry(max_attempts=7, initial=0.25)},
    ],
)
def test_every_field_is_stored_as_the_other_way_would(playground: Playground, fields: dict[str, Any]) -> None:
    quick = alike(*ARGS, **fields)
    thorough = replace(quick, ids=[new_id() for _ in ARGS])

    assert insert(playground, quick) is None
    with playground.engine.begin() as connection:
        insert_jobs(connection, thorough.each())

    stored, expected = rows(playground, quick), rows(playground, thorough)
    assert [row["args_text"] for row in stored] == list(ARGS)
    assert stored == expected


def test_any_number_is_stored_in_parts_each_with_its_own_arguments(playground: Playground) -> None:
    jobs = alike(*(f'{{"number":{number}}}' for number in range(2500)))
    assert insert(playground, jobs) is None
    assert [row["args"]["number"] for row in rows(playground, jobs)] == list(range(2500))


def test_what_was_stored_before_by_a_lost_answer_is_not_stored_again(playground: Playground) -> None:
    jobs = alike("{}", "{}")
    insert(playground, jobs)
    assert insert(playground, jobs) is None
    assert playground.value("SELECT count(*) FROM jobs") == 2


def test_of_jobs_with_one_unique_key_all_but_the_first_are_refused(playground: Playground) -> None:
    jobs = alike("{}", "{}", "{}", unique_key="u")
    answers = insert(playground, jobs)
    assert answers is not None
    first, *refused = answers
    assert isinstance(first, Accepted)
    assert [type(each) for each in refused] == [UniqueKeyHeld, UniqueKeyHeld]
    assert {str(each) for each in refused} == {f"unique key 'u' is held by job {jobs.ids[0]}"}
    assert playground.value("SELECT id FROM jobs") == jobs.ids[0]

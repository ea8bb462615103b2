"""Pages by state, queue, task and tag: right however the kinds lie, and found without going through all other jobs."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from playground import Playground
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.store import listing
from steeple.store.finding import MOST_KINDS
from steeple.store.listing import JobFilter, read_page

_HISTORY, _BACKLOG = 12_000, 20_000
_FEW = 6_000
"""Entries of indexes, and rows: what any page may look at, far fewer than there are jobs of either kind."""

# Finished jobs of 12 tasks in 3 queues, one in 50 failed; every fourth has a tag that many have, or that few have.
_FINISH = """
INSERT INTO jobs (id, task, args, queue, priority, run_at, timeout, max_attempts, state, finished_at, tags)
SELECT uuidv7(number * interval '1 ms' - interval '1 h'), 'task-' || number % 12, '{}', 'queue-' || number % 3, 1,
       now(), 60, 3, CAST(CASE WHEN number % 50 = 0 THEN 'FAILED' ELSE 'SUCCESS' END AS job_state), now(),
       CAST(CASE WHEN number % 4 > 0 THEN '{}' WHEN number % 1000 = 0 THEN '{nightly,rare}' ELSE '{nightly}' END
            AS text[])
FROM generate_series(1, :jobs) AS number
"""

# Newer ones, all alike, that are pending.
_WAIT = """
INSERT INTO jobs (id, task, args, queue, priority, run_at, timeout, max_attempts)
SELECT uuidv7(number * interval '1 ms' - interval '10 min'), 'bulk', '{}', 'bulk', 1, now(), 60, 3
FROM generate_series(1, :jobs) AS number
"""

# What this transaction has read of jobs: rows of the table in its order, and entries of its indexes.
_LOOKED_AT = """
SELECT CAST(sum(pg_stat_get_xact_tuples_returned(place)) AS bigint)
FROM (SELECT CAST(CAST('jobs' AS regclass) AS oid)
      UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = CAST('jobs' AS regclass)) AS places (place)
"""


@pytest.fixture
def history(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> Iterator[Playground]:
    """A backlog before a history, both long for what is looked through at first."""
    monkeypatch.setattr(listing, "_FIRST_WINDOW", 200)
    monkeypatch.setattr(listing, "_TAGGED_WINDOWS", (500, 1_000))
    playground.sql(_FINISH, jobs=_HISTORY)
    playground.sql(_WAIT, jobs=_BACKLOG)
    with playground.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE jobs"))
    yield playground
    playground.sql("TRUNCATE jobs CASCADE")


def looked_at(connection: Connection) -> int:
    found = connection.execute(text(_LOOKED_AT)).scalar_one()
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("wanted", "jobs"),
    [
        (JobFilter(states=(State.SUCCESS,)), 50),
        (JobFilter(states=(State.FAILED,)), 50),
        (JobFilter(states=(State.RUNNING, State.CANCELLED)), 0),
        (JobFilter(tasks=("task-3", "task-4")), 50),
        (JobFilter(tasks=("none",)), 0),
        (JobFilter(queues=("queue-1",)), 50),
        (JobFilter(queues=("none",)), 0),
        (JobFilter(queues=("queue-1",), tasks=("task-4",), states=(State.FAILED,)), 40),
        (JobFilter(tasks=("bulk",), states=(State.SUCCESS,)), 0),
        (JobFilter(states=(State.SUCCESS,), priorities=(Priority.DEFAULT,)), 50),
        (JobFilter(tags=("nightly",)), 50),
        (JobFilter(tags=("rare",)), 12),
        (JobFilter(tags=("none",)), 0),
        (JobFilter(tags=("nightly",), states=(State.FAILED,)), 50),
        (JobFilter(tags=("nightly",), states=(State.PENDING,)), 0),
    ],
)
def test_a_page_is_found_without_going_through_what_does_not_match(
    history: Playground, wanted: JobFilter, jobs: int, plan: str
) -> None:
    with history.engine.begin() as connection:
        connection.execute(text(f"SET LOCAL plan_cache_mode = '{plan}'"))
        before = looked_at(connection)
        page = read_page(connection, wanted, limit=50)
        assert looked_at(connection) - before < _FEW
    assert len(page.jobs) == jobs


def newest_first(playground: Playground, wanted: JobFilter) -> list[UUID]:
    """The ids on all pages."""
    found: list[UUID] = []
    before = None
    while True:
        with playground.engine.begin() as connection:
            page = read_page(connection, wanted, limit=7, before=before)
        found += [job.id for job in page.jobs]
        before = page.next_before
        if before is None:
            return found


@pytest.mark.parametrize("tasks", [70, MOST_KINDS + 1], ids=["more than are merged at once", "too many"])
@pytest.mark.parametrize("is_tagged", [False, True])
def test_any_number_of_kinds_is_merged_in_order(
    playground: Playground, monkeypatch: pytest.MonkeyPatch, tasks: int, is_tagged: bool
) -> None:
    monkeypatch.setattr(listing, "_FIRST_WINDOW", 5)
    tags = ("nightly",) if is_tagged else ()
    for task in range(tasks):
        playground.add(task=f"task-{task % 50 * 20 + task // 50}", tags=tags)
    playground.add_many(20, task="task-0", tags=tags)
    jobs = [row.id for row in playground.sql("SELECT id FROM jobs ORDER BY id DESC")]
    assert newest_first(playground, JobFilter(states=(State.PENDING,), tags=tags)) == jobs


def test_jobs_that_run_are_merged_with_those_of_all_kinds(
    playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_FIRST_WINDOW", 1)
    claimant = playground.worker()
    for _ in range(8):
        playground.running(claimant, queue="q")
        playground.ended(State.SUCCESS, queue="q")
        playground.add(queue="elsewhere")
    jobs = [row.id for row in playground.sql("SELECT id FROM jobs WHERE queue = 'q' ORDER BY id DESC")]
    assert newest_first(playground, JobFilter(queues=("q",))) == jobs

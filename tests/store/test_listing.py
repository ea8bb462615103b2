"""Finding pages of jobs: the same jobs whichever way they are found, and never for longer than is allowed."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from playground import Playground, at
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.store import listing
from steeple.store.listing import JobFilter, Page, read_page


def page(playground: Playground, wanted: JobFilter, limit: int = 50, **options: Any) -> Page:
    with playground.engine.begin() as connection:
        return read_page(connection, wanted, limit=limit, **options)


def everything(playground: Playground, wanted: JobFilter, limit: int = 7) -> list[UUID]:
    """The ids on all pages."""
    found: list[UUID] = []
    before = None
    while True:
        each = page(playground, wanted, limit, before=before)
        found += [job.id for job in each.jobs]
        before = each.next_before
        if before is None:
            return found


@pytest.fixture
def crowd(playground: Playground) -> Playground:
    """300 jobs of every kind, a second apart."""
    dice = random.Random(7)
    began = playground.value("SELECT now()")
    for number in range(300):
        playground.add(
            task=dice.choice(["a", "b"]),
            queue=dice.choice(["p", "q"]),
            priority=dice.choice(list(Priority)),
            tags=tuple(dice.sample(["x", "y", "z"], dice.randrange(3))),
            now=began + timedelta(seconds=number),
        )
    playground.sql(
        "UPDATE jobs SET state = (ARRAY['PENDING','RUNNING','SUCCESS','FAILED','CANCELLED'])[1 + abs(hashtext("
        "CAST(id AS text))) % 5]::job_state"
    )
    return playground


FILTERS: list[tuple[JobFilter, Callable[[Any], bool]]] = [
    (JobFilter(), lambda job: True),
    *((JobFilter(states=(state,)), lambda job, state=state: job.state == state) for state in State),
    (JobFilter(states=(State.FAILED, State.CANCELLED)), lambda job: job.state in {"FAILED", "CANCELLED"}),
    (JobFilter(states=(State.PENDING, State.FAILED)), lambda job: job.state in {"PENDING", "FAILED"}),
    (JobFilter(states=(State.RUNNING, State.CANCELLED)), lambda job: job.state in {"RUNNING", "CANCELLED"}),
    (JobFilter(states=(State.SUCCESS, State.RUNNING)), lambda job: job.state in {"SUCCESS", "RUNNING"}),
    (JobFilter(tasks=("a",)), lambda job: job.task == "a"),
    (JobFilter(queues=("p", "none")), lambda job: job.queue == "p"),
    (JobFilter(priorities=(Priority.HIGH, Priority.LOW)), lambda job: job.priority in {0, 2}),
    (JobFilter(tags=("x", "y")), lambda job: bool({"x", "y"} & set(job.tags))),
    (JobFilter(tags=("z",), states=(State.FAILED,)), lambda job: "z" in job.tags and job.state == "FAILED"),
    (JobFilter(tags=("z",), states=(State.PENDING,)), lambda job: "z" in job.tags and job.state == "PENDING"),
    (JobFilter(tasks=("b",), tags=("x",)), lambda job: job.task == "b" and "x" in job.tags),
    (JobFilter(search="Y"), lambda job: "y" in job.tags),
    (JobFilter(tasks=("none",)), lambda job: False),
    (JobFilter(states=(State.FAILED,), tasks=("none",)), lambda job: False),
]


@pytest.mark.parametrize(("wanted", "matches"), FILTERS)
@pytest.mark.parametrize("window", [20_000, 10], ids=["in one look", "in many"])
def test_all_pages_together_have_the_jobs_that_match(
    crowd: Playground,
    monkeypatch: pytest.MonkeyPatch,
    wanted: JobFilter,
    matches: Callable[[Any], bool],
    window: int,
) -> None:
    for name in ("_FIRST_WINDOW", "_LAST_WINDOW", "_LAST_SEARCH_WINDOW"):
        monkeypatch.setattr(listing, name, window)
    monkeypatch.setattr(listing, "_TAGGED_WINDOWS", (window, 2 * window))
    jobs = crowd.sql(
        "SELECT id, CAST(state AS text), task, queue, priority, tags, created_at FROM jobs ORDER BY id DESC"
    )
    assert everything(crowd, wanted) == [job.id for job in jobs if matches(job)]


@pytest.mark.parametrize("window", [20_000, 10], ids=["in one look", "in many"])
def test_times_of_creation_bound_what_is_found(crowd: Playground, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(listing, "_FIRST_WINDOW", window)
    monkeypatch.setattr(listing, "_LAST_WINDOW", window)
    jobs = crowd.sql("SELECT id, created_at FROM jobs ORDER BY id DESC")
    bounds = JobFilter(created_after=jobs[100].created_at, created_before=jobs[50].created_at)
    assert everything(crowd, bounds) == [job.id for job in jobs[51:101]]


def test_a_search_that_takes_too_long_says_where_to_go_on(crowd: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_FIRST_WINDOW", 10)
    monkeypatch.setattr(listing, "_LAST_WINDOW", 10)
    oldest = crowd.value("SELECT min(CAST(id AS text)) FROM jobs")
    crowd.sql("UPDATE jobs SET task = 'rare' WHERE id = CAST(:id AS uuid)", id=oldest)
    pages = [page(crowd, JobFilter(tasks=("rare",)), patience=0.0)]
    while pages[-1].next_before is not None:
        pages.append(page(crowd, JobFilter(tasks=("rare",)), before=pages[-1].next_before, patience=0.0))
    assert len(pages) > 10
    assert not any(each.jobs for each in pages[:10])
    assert [str(job.id) for each in pages for job in each.jobs] == [oldest]


def test_a_page_is_read_to_its_size_and_no_further(playground: Playground) -> None:
    ids = playground.add_many(5)
    first = page(playground, JobFilter(), 3)
    assert [job.id for job in first.jobs] == ids[:1:-1]
    assert first.next_before == ids[2]
    rest = page(playground, JobFilter(), 3, before=first.next_before)
    assert ([job.id for job in rest.jobs], rest.next_before) == ([ids[1], ids[0]], None)


def test_a_clock_that_is_wrong_by_less_than_ten_minutes_hides_no_job(playground: Playground) -> None:
    job_id = playground.add(now=None)
    for minutes in (-9, 9):
        playground.sql("UPDATE jobs SET created_at = now() + make_interval(mins => :minutes)", minutes=minutes)
        created = playground.read(job_id).created_at
        found = page(playground, JobFilter(created_after=created, created_before=at(0).replace(year=2500)))
        assert [job.id for job in found.jobs] == [job_id]
        assert not page(playground, JobFilter(created_before=created)).jobs

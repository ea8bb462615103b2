"""The store on the oldest PostgreSQL that is supported: a job's life once through, in the server that Debian has."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from playground import Attempt, Playground, at, claim_of, end
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.embedded.directories import socket_directory
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.store import counters, lanes, listing, retention, tasks, transitions, workers
from steeple.store.engine import server_facts
from steeple.store.listing import JobFilter
from steeple.store.metrics import read_metrics
from steeple.store.migrate import upgrade
from steeple.store.queues import queue_statistics
from steeple.store.rollup import roll_up

INSTALL = Path("/usr/lib/postgresql/15")

pytestmark = pytest.mark.skipif(
    not (INSTALL / "bin" / "postgres").exists(), reason=f"no PostgreSQL 15 in {INSTALL}: apt install postgresql-15"
)


@pytest.fixture(scope="module")
def oldest_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data_dir = tmp_path_factory.mktemp("postgres-15") / "data"
    sockets = socket_directory(data_dir)
    with EmbeddedPostgres(data_dir, sockets, fast=True, install=INSTALL) as server:
        upgrade(server.url())
        yield server.url()
    sockets.rmdir()


@pytest.fixture
def oldest(oldest_url: str) -> Iterator[Playground]:
    found = Playground(oldest_url)
    yield found
    found.close()


def test_the_server_is_the_oldest_supported(oldest: Playground) -> None:
    with oldest.engine.begin() as connection:
        assert server_facts(connection).version == 15


def test_a_job_is_claimed_retried_and_finished(oldest: Playground) -> None:
    claimant = oldest.worker()
    job = oldest.running(claimant, queue="q", tags=("a", "b"))
    oldest.finish(claimant, end(job, State.PENDING, retry_in=5.0))
    (again,) = oldest.claim(claimant, now=at(5))
    exchanged = oldest.exchange(claimant, [end(again, State.SUCCESS), end(job, State.FAILED)], 5, now=at(6))
    assert exchanged.stale == (claim_of(job),)
    seen = oldest.read(job.id)
    assert (seen.state, seen.attempt, seen.fence, seen.tags) == (State.SUCCESS, 2, 2, ("a", "b"))
    assert oldest.attempts(job.id) == [Attempt(1, 1, State.FAILED, "exception")]


def test_a_job_is_rescued_cancelled_expired_released_and_started_anew(oldest: Playground) -> None:
    claimant = oldest.worker()
    rescued, cancelled, released = (oldest.running(claimant) for _ in range(3))
    late = oldest.add(expires_at=at(1))
    with oldest.engine.begin() as connection:
        workers.beat(connection, claimant.worker_id, draining=False)
        assert transitions.rescue(connection, [claim_of(rescued)], "gone").jobs == 1
        transitions.cancel(connection, cancelled.id)
        assert transitions.release(connection, [claim_of(each) for each in (cancelled, released)]) == 2
        assert transitions.expire(connection, now=at(2)) == 1
        transitions.retry(connection, cancelled.id)
    expected = [State.PENDING, State.PENDING, State.PENDING, State.FAILED]
    assert [oldest.read(job_id).state for job_id in (rescued.id, cancelled.id, released.id, late)] == expected


def test_the_dead_are_buried_and_their_jobs_found(oldest: Playground) -> None:
    job = oldest.running(oldest.worker(), now=None)
    with oldest.engine.begin() as connection:
        assert workers.bury(connection, -1.0) == ("w",)
        assert [orphan.claim for orphan in workers.orphans(connection)] == [claim_of(job)]


def test_what_there_is_is_counted_and_pruned(oldest: Playground) -> None:
    oldest.ended(State.SUCCESS)
    oldest.add(priority=Priority.LOW)
    with oldest.engine.begin() as connection:
        assert lanes.find_work(connection, now=at(1)).due == {Lane("default", Priority.LOW): 1}
        assert roll_up(connection, now=at(60)).jobs == 1
        (queue,) = queue_statistics(connection, now=at(60))
        assert (queue.counts[State.SUCCESS], queue.counts[State.PENDING]) == (1, 1)
        counters.add(connection, {counters.CounterName.PRUNED: retention.prune(connection, 9.0, limit=5, now=at(60))})
        retention.forget_minutes(connection, 9.0, now=at(900))
        tasks.register(connection, [])
        assert read_metrics(connection, 20.0).counters[counters.CounterName.PRUNED] == 1


def test_pages_of_jobs_are_found_by_kind_and_by_tag(oldest: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_FIRST_WINDOW", 1)
    monkeypatch.setattr(listing, "_TAGGED_WINDOWS", (1, 1))
    tagged = [oldest.add(tags=("x",), task=f"task-{number}") for number in range(3)]
    oldest.add_many(3)
    with oldest.engine.begin() as connection:
        for wanted in (
            JobFilter(tags=("x",)),
            JobFilter(states=(State.PENDING,), tasks=("task-0", "task-1", "task-2")),
        ):
            page = listing.read_page(connection, wanted, limit=2)
            assert [job.id for job in page.jobs] == tagged[:0:-1]
            assert page.next_before == tagged[1]

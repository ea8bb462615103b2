"""Emptying a queue: what is pending in it is cancelled, batch by batch, and nothing else."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from playground import Playground
from steeple.domain.states import State
from steeple.store import purges
from steeple.store.purges import Purged, count_pending, purge

_FILL = """
INSERT INTO jobs (id, task, args, queue, priority, run_at, timeout, max_attempts)
SELECT gen_random_uuid(), 't', '{}', 'a', 1, now() - number * interval '1 ms', 60, 3
FROM generate_series(1, :rows) AS number
"""


def act(playground: Playground, work: Any, *words: Any, **more: Any) -> Any:
    with playground.engine.begin() as connection:
        return work(connection, *words, **more)


def now(playground: Playground) -> datetime:
    found: datetime = act(playground, count_pending, "a").at
    return found


def test_pending_jobs_are_cancelled_due_or_not_and_no_others(playground: Playground) -> None:
    running = playground.running(queue="a", now=None).id
    ended = playground.ended(State.SUCCESS, queue="a", now=None).id
    pending = [playground.add(queue="a", now=None), playground.add(queue="a", delay=1000.0, now=None)]
    other = playground.add(queue="b", now=None)
    assert act(playground, count_pending, "a").jobs == 2
    assert act(playground, purge, "a", until=now(playground)) == Purged(2, None)
    for job_id in pending:
        seen = playground.read(job_id)
        assert (seen.state, seen.fence) == (State.CANCELLED, 1)
        assert seen.finished_at == seen.cancel_requested_at is not None
    assert [playground.read(each).state for each in (running, ended, other)] == ["RUNNING", "SUCCESS", "PENDING"]


def test_a_purge_goes_on_where_it_left_off(playground: Playground) -> None:
    for task in "cab":
        playground.add_many(3, queue="a", task=task, now=None)
    until, after, counts = now(playground), None, []
    while True:
        batch = act(playground, purge, "a", until=until, after=after, limit=4)
        counts.append(batch.jobs)
        after = batch.after
        if after is None:
            break
    assert counts == [4, 4, 1]
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'CANCELLED'") == 9


def test_jobs_that_came_since_are_not_meant(playground: Playground) -> None:
    playground.add(queue="a", now=None)
    until = now(playground)
    later = playground.add(queue="a", now=None)
    assert act(playground, purge, "a", until=until).jobs == 1
    assert playground.read(later).state == State.PENDING
    assert act(playground, count_pending, "a", until=until).jobs == 0


def test_a_job_that_somebody_is_changing_is_left_and_nobody_waits(playground: Playground) -> None:
    claimed, left = playground.add(queue="a", now=None), playground.add(queue="a", now=None)
    with playground.transaction() as other:
        other.exec_driver_sql("SELECT FROM jobs WHERE id = %s FOR UPDATE", (claimed,))
        assert act(playground, purge, "a", until=now(playground)).jobs == 1
        other.rollback()
    assert [playground.read(each).state for each in (claimed, left)] == [State.PENDING, State.CANCELLED]


def test_a_batch_of_many_finds_its_jobs_by_an_index_that_has_them_in_order(playground: Playground) -> None:
    playground.sql(_FILL, rows=5000)
    playground.sql("ANALYZE jobs")
    with playground.engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        values = {"name": "a", "after_task": "t", "after_id": UUID(int=0), "until": now(playground), "limit": 10}
        plan = "\n".join(connection.execute(text(f"EXPLAIN {purges._PURGE.text}"), values).scalars())
    assert "jobs_of_a_kind" in plan
    assert "Sort Key: jobs.task, jobs.id" not in plan

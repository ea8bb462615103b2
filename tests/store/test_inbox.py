"""Writing new jobs: what is stored, and what a submitter is told whose job was left out."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import text

from playground import NOW, Playground, at
from steeple.domain.job import Idempotency, NewJob
from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.domain.states import State
from steeple.errors import IdempotencyKeyReused, UniqueKeyHeld
from steeple.store.children import insert_all, insert_some
from steeple.store.inbox import insert_jobs
from steeple.store.inbox_answers import Accepted, Answer
from steeple.submission import new_id

KEY = Idempotency("owner", "key", b"\x00\xff hash")


def job(**fields: Any) -> NewJob:
    return NewJob(new_id(), **({"task": "t", "args": "{}"} | fields))


def insert(playground: Playground, *jobs: NewJob) -> list[Answer]:
    with playground.engine.begin() as connection:
        return insert_jobs(connection, jobs, now=NOW)


def count(playground: Playground) -> int:
    return int(playground.value("SELECT count(*) FROM jobs"))


def waiting_for_locks(playground: Playground) -> int:
    return int(
        playground.value(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    )


def test_every_field_is_stored_as_it_is(playground: Playground) -> None:
    new = job(
        task='t"\\ü',
        args='{"a": 1.50, "b": 123456789012345678901234567890}',
        queue="q",
        priority=Priority.LOW,
        tags=("a", 'b"\\', "{,}", "NULL", " "),
        unique_key="u",
        run_at=datetime(2030, 1, 1, tzinfo=UTC),
        expires_at=datetime(2031, 1, 1, tzinfo=UTC),
        timeout=0.1,
        max_attempts=7,
        retry=Retry(max_attempts=7, initial=0.25),
        idempotency=KEY,
    )
    assert insert(playground, new) == [Accepted(new.id, datetime(2030, 1, 1, tzinfo=UTC), NOW)]
    stored = playground.read(new.id)
    for name in ("id", "task", "args", "queue", "priority", "tags", "unique_key", "run_at", "expires_at", "timeout"):
        assert getattr(stored, name) == getattr(new, name), name
    assert (stored.state, stored.max_attempts, stored.created_at) == (State.PENDING, 7, NOW)
    (row,) = playground.sql("SELECT retry, idempotency_owner, idempotency_key, request_hash FROM jobs")
    assert row.retry == {"max_attempts": 7, "initial": 0.25, "factor": 2.0, "cap": 600.0}
    assert (row.idempotency_owner, row.idempotency_key, row.request_hash) == ("owner", "key", b"\x00\xff hash")


def test_what_is_left_out_is_null_or_now(playground: Playground) -> None:
    insert(playground, job())
    (row,) = playground.sql("SELECT * FROM jobs")
    assert (row.run_at, row.created_at, row.tags) == (NOW, NOW, [])
    nothing = ("retry", "unique_key", "expires_at", "idempotency_owner", "idempotency_key", "request_hash", "result")
    assert all(getattr(row, name) is None for name in nothing)


def test_a_delay_counts_from_now(playground: Playground) -> None:
    new = job(delay=90.5)
    assert insert(playground, new) == [Accepted(new.id, at(90.5), NOW)]


def test_answers_come_in_the_order_of_the_jobs(playground: Playground) -> None:
    jobs = [job(unique_key=key) for key in ("c", "a", "b")] + [job(), job()]
    answers = insert(playground, *jobs)
    assert [answer.id for answer in answers if isinstance(answer, Accepted)] == [each.id for each in jobs]


def test_none_is_none(playground: Playground) -> None:
    assert insert(playground) == []


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_a_repeated_request_is_told_of_its_job(playground: Playground, is_one_batch: bool) -> None:
    first, again = job(idempotency=KEY), job(idempotency=KEY)
    answers = (
        insert(playground, first, again) if is_one_batch else insert(playground, first) + insert(playground, again)
    )
    assert sorted(answer.is_replay for answer in answers if isinstance(answer, Accepted)) == [False, True]
    assert len({answer.id for answer in answers if isinstance(answer, Accepted)}) == 1
    assert count(playground) == 1


def test_a_repeat_long_after_its_job_has_ended_is_told_of_it_too(playground: Playground) -> None:
    ended = playground.ended(State.FAILED, idempotency=KEY)
    (answer,) = insert(playground, job(idempotency=KEY))
    assert isinstance(answer, Accepted)
    assert (answer.id, answer.is_replay) == (ended.id, True)


def test_a_key_with_another_request_is_reused(playground: Playground) -> None:
    first = job(idempotency=KEY)
    insert(playground, first)
    (answer,) = insert(playground, job(idempotency=Idempotency("owner", "key", b"other")))
    assert isinstance(answer, IdempotencyKeyReused)
    assert (answer.key, answer.job_id) == ("key", str(first.id))


def test_keys_are_their_owners_own(playground: Playground) -> None:
    insert(playground, job(idempotency=KEY), job(idempotency=Idempotency("other", "key", b"x")))
    assert count(playground) == 2


@pytest.mark.parametrize("is_running", [True, False])
def test_an_active_job_holds_its_unique_key(playground: Playground, is_running: bool) -> None:
    holder = playground.running(unique_key="u").id if is_running else playground.add(unique_key="u")
    kept = job()
    refused, accepted = insert(playground, job(unique_key="u"), kept)
    assert isinstance(refused, UniqueKeyHeld)
    assert (refused.unique_key, refused.job_id) == ("u", str(holder))
    assert isinstance(accepted, Accepted)


def test_a_job_that_has_ended_holds_no_key(playground: Playground) -> None:
    playground.ended(State.SUCCESS, unique_key="u")
    (answer,) = insert(playground, job(unique_key="u"))
    assert isinstance(answer, Accepted)


def test_a_batch_that_is_sent_twice_is_stored_once(playground: Playground) -> None:
    jobs = [
        job(),
        job(unique_key="u"),
        job(idempotency=KEY),
        job(unique_key="v", idempotency=Idempotency("o", "k", b"h")),
    ]
    assert insert(playground, *jobs) == insert(playground, *jobs)
    assert count(playground) == 4


def test_a_rival_that_goes_between_insert_and_look_is_no_rival(playground: Playground) -> None:
    """It holds the key when the INSERT waits for it, and is rolled back when the look comes: the job is tried again."""
    rival = playground.transaction()
    insert_jobs(rival, [job(unique_key="u")], now=NOW)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(insert, playground, job(unique_key="u"))
        while not waiting_for_locks(playground):
            assert not answer.done()
        rival.rollback()
        rival.close()
        (found,) = answer.result()
    assert isinstance(found, Accepted)


def test_writers_of_the_same_keys_in_opposite_orders_do_not_deadlock(playground: Playground) -> None:
    """Both are made to wait for the key in the middle when each would have the first of its own order already."""
    rival = playground.transaction()
    insert_jobs(rival, [job(unique_key="m")], now=NOW)
    with ThreadPoolExecutor() as pool:
        writers = []
        for keys in ("amz", "zma"):
            writers.append(pool.submit(insert, playground, *(job(unique_key=key) for key in keys)))
            while waiting_for_locks(playground) < len(writers):
                assert not any(writer.done() for writer in writers)
        rival.rollback()
        rival.close()
        answers = [answer for writer in writers for answer in writer.result()]
    assert sum(isinstance(answer, Accepted) for answer in answers) == count(playground) == 3


def test_many_repeats_are_answered_soon(playground: Playground) -> None:
    jobs = [job(unique_key=str(number)) for number in range(5000)]
    insert(playground, *jobs)
    began = monotonic()
    answers = insert(playground, *(job(unique_key=str(number)) for number in range(5000)))
    assert monotonic() - began < 10
    assert [answer.job_id for answer in answers if isinstance(answer, UniqueKeyHeld)] == [str(each.id) for each in jobs]


def test_any_number_is_stored_in_parts(playground: Playground) -> None:
    jobs = [job() for _ in range(2500)]
    with playground.engine.begin() as connection:
        answers = insert_some(connection, jobs)
    assert [answer.id for answer in answers if isinstance(answer, Accepted)] == [each.id for each in jobs]


def test_all_or_none(playground: Playground) -> None:
    playground.add(unique_key="u")
    with playground.engine.begin() as connection:
        answers = insert_all(connection, [job(), job(unique_key="u"), job()])
    assert [type(answer) for answer in answers] == [Accepted, UniqueKeyHeld, Accepted]
    assert count(playground) == 1


def test_rivals_are_found_by_their_indexes(playground: Playground) -> None:
    from steeple.store.inbox import _RIVALS

    with playground.engine.begin() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        parameters = {"ids": [new_id()], "owners": ["o"], "keys": ["k"], "unique_keys": ["u"], "now": None}
        plan = "\n".join(connection.execute(text(f"EXPLAIN {_RIVALS.text}"), parameters).scalars())
    assert {name for name in ("jobs_pkey", "jobs_idempotency_key", "jobs_unique_key") if name in plan} == {
        "jobs_pkey",
        "jobs_idempotency_key",
        "jobs_unique_key",
    }
    assert "Seq Scan on jobs" not in plan

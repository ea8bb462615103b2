"""Batches that overlap, and jobs that want the same key."""

from uuid import UUID

import pytest
from racing import Act, Racer, race, together
from sqlalchemy import Connection, text
from uuid_utils.compat import uuid7

from playground import NOW, Playground, claim_of, end
from steeple.domain.job import ClaimedJob, Idempotency, NewJob
from steeple.domain.states import State
from steeple.embedded.processes import wait_until
from steeple.errors import IdempotencyKeyReused, UniqueKeyHeld
from steeple.store import counters, reports, transitions
from steeple.store.exchange import exchange
from steeple.store.inbox import insert_jobs
from steeple.store.inbox_answers import Accepted, Answer
from steeple.store.rollup import roll_up
from steeple.store.workers import orphans

ROUNDS = 10


def submit(**fields: object) -> Act:
    """Gives the answer to one submit."""

    def act(connection: Connection) -> Answer:
        job = NewJob(uuid7(), "t", "{}", **fields)  # type: ignore[arg-type]
        return insert_jobs(connection, [job], now=NOW)[0]

    return act


def test_the_same_unique_key_at_once_makes_one_job(playground: Playground) -> None:
    first, second = race(playground, submit(unique_key="k"), submit(unique_key="k"))
    assert isinstance(first, Accepted)
    assert isinstance(second, UniqueKeyHeld)
    assert (second.unique_key, second.job_id) == ("k", str(first.id))
    assert playground.value("SELECT count(*) FROM jobs") == 1


def test_a_unique_key_that_is_being_freed_is_waited_for(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant, unique_key="k")
    _, answer = race(
        playground,
        lambda connection: exchange(connection, [end(job, State.SUCCESS)], claimant, 0, now=NOW),
        submit(unique_key="k"),
    )
    assert isinstance(answer, Accepted)
    assert playground.value("SELECT count(*) FROM jobs WHERE unique_key = 'k'") == 2


def test_a_job_cannot_be_started_anew_while_its_unique_key_is_being_taken(playground: Playground) -> None:
    job = playground.ended(State.FAILED, unique_key="k")
    answer, refusal = race(
        playground, submit(unique_key="k"), lambda connection: transitions.retry(connection, job.id, now=NOW)
    )
    assert isinstance(answer, Accepted)
    assert isinstance(refusal, UniqueKeyHeld)
    assert playground.read(job.id).state == State.FAILED


def test_the_same_idempotency_key_at_once_gives_the_same_job(playground: Playground) -> None:
    key = Idempotency("owner", "k", b"hash")
    first, second = race(playground, submit(idempotency=key), submit(idempotency=key))
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert (first.id, first.is_replay, second.is_replay) == (second.id, False, True)
    assert playground.value("SELECT count(*) FROM jobs") == 1


def test_the_same_idempotency_key_for_another_request_at_once_is_refused(playground: Playground) -> None:
    first, second = race(
        playground,
        submit(idempotency=Idempotency("owner", "k", b"one")),
        submit(idempotency=Idempotency("owner", "k", b"other")),
    )
    assert isinstance(first, Accepted)
    assert isinstance(second, IdempotencyKeyReused)


def test_batches_with_the_same_keys_in_opposite_order_do_not_lock_each_other_out(playground: Playground) -> None:
    def batch(keys: list[str]) -> Act:
        return lambda connection: insert_jobs(
            connection, [NewJob(uuid7(), "t", "{}", unique_key=key) for key in keys], now=NOW
        )

    for number in range(ROUNDS):
        keys = [f"{number}-{place}" for place in range(20)]
        answers = together(playground, batch(keys), batch(keys[::-1]))
        accepted = [answer for each in answers for answer in each if isinstance(answer, Accepted)]
        assert len(accepted) == len(keys)


@pytest.mark.parametrize("what", ["finish", "rescue", "release", "progress"])
def test_a_batch_locks_its_jobs_in_the_order_of_their_ids(playground: Playground, what: str) -> None:
    """It is given in the opposite order, and waits for the first while it holds none of the others."""
    claimant = playground.worker()
    playground.add_many(3)
    jobs = sorted(playground.claim(claimant, 128), key=lambda job: job.id)
    backwards = jobs[::-1]
    acts: dict[str, Act] = {
        "finish": lambda connection: exchange(
            connection, [end(job, State.SUCCESS) for job in backwards], claimant, 0, now=NOW
        ),
        "rescue": lambda connection: transitions.rescue(connection, [claim_of(job) for job in backwards], "gone"),
        "release": lambda connection: transitions.release(connection, [claim_of(job) for job in backwards]),
        "progress": lambda connection: reports.store_progress(
            connection, [reports.Progress(job.id, job.fence, "{}") for job in backwards]
        ),
    }
    lock = text("SELECT FROM jobs WHERE id = :id FOR UPDATE NOWAIT")
    with playground.engine.begin() as connection:
        connection.execute(lock, {"id": jobs[0].id})
        racer = Racer(playground, acts[what])
        racer.start()
        assert wait_until(racer.is_held_up, 30)
        for job in jobs[1:]:
            connection.execute(lock, {"id": job.id})
    racer.join(30)
    assert not isinstance(racer.result, Exception)


def test_finishes_rescues_and_releases_in_any_order_do_not_lock_each_other_out(playground: Playground) -> None:
    claimant = playground.worker()
    jobs: list[ClaimedJob] = []

    def finish(connection: Connection) -> int:
        finishes = [end(job, State.SUCCESS) for job in jobs[::-1]]
        return len(jobs) - len(exchange(connection, finishes, claimant, 0, now=NOW).stale)

    def rescue(connection: Connection) -> int:
        return transitions.rescue(connection, [claim_of(job) for job in jobs[::-1]], "gone", now=NOW).jobs

    def release(connection: Connection) -> int:
        return transitions.release(connection, [claim_of(job) for job in jobs])

    for _ in range(ROUNDS):
        playground.add_many(30)
        jobs[:] = playground.claim(claimant, 128)
        assert sum(together(playground, finish, rescue, release)) == len(jobs)


def test_several_schedulers_rescue_each_orphan_once(playground: Playground) -> None:
    claimant = playground.worker()
    playground.add_many(40)
    jobs = playground.claim(claimant, 128)
    playground.sql("UPDATE workers SET ended_at = now()")

    def rescue(connection: Connection) -> int:
        found = [orphan.claim for orphan in orphans(connection)]
        return transitions.rescue(connection, found, "gone", now=NOW).jobs

    assert sum(together(playground, *[rescue] * 4)) == len(jobs)
    assert {playground.read(job.id).crashes for job in jobs} == {1}


def test_counters_lose_nothing_and_do_not_lock_each_other_out(playground: Playground) -> None:
    names = list(counters.CounterName)

    def add(order: list[counters.CounterName]) -> Act:
        return lambda connection: counters.add(connection, dict.fromkeys(order, 1))

    for _ in range(ROUNDS):
        assert together(playground, add(names), add(names[::-1]), add(names)) == [None] * 3
    with playground.engine.begin() as connection:
        assert counters.totals(connection) == dict.fromkeys(names, 3 * ROUNDS)


@pytest.mark.parametrize("order", [1, -1])
def test_an_explicit_retry_meets_the_roll_up(playground: Playground, order: int) -> None:
    """Whoever is first: the job is pending, and counted as finished once at the most."""
    job = playground.ended(State.FAILED)

    def count(connection: Connection) -> int:
        return roll_up(connection, now=NOW.replace(hour=13)).jobs

    def retry(connection: Connection) -> UUID:
        transitions.retry(connection, job.id, now=NOW.replace(hour=13))
        return job.id

    first, second = (count, retry)[::order]
    race(playground, first, second)
    assert playground.read(job.id).state == State.PENDING
    assert playground.value("SELECT COALESCE(sum(jobs), 0) FROM finished_minutes") in (0, 1)

"""The limit of a queue: for all of its jobs, whatever else they have."""

import threading
from functools import partial
from typing import Any

import pytest

from playground import Playground, at, claim_of, end
from steeple.domain.job import ClaimedJob
from steeple.domain.limits import Rate
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.domain.why import reasons
from steeple.store import queue_settings, transitions
from steeple.store.engine import in_transaction
from steeple.store.exchange import Claimant, exchange
from steeple.store.queue_settings import QueueChange
from steeple.store.ruled_claims import claim_by_rules
from steeple.store.why import read_facts


def _set(playground: Playground, queue: str = "default", **values: Any) -> None:
    change = QueueChange(set(values), **values)
    in_transaction(playground.engine, lambda connection: queue_settings.change(connection, queue, change))


def _claim(
    playground: Playground, claimant: Claimant, limit: int = 10, *, seconds: float = 0, queue: str = "default"
) -> tuple[ClaimedJob, ...]:
    lane = Lane(queue, Priority.DEFAULT)
    with playground.engine.begin() as connection:
        return claim_by_rules(connection, claimant, lane, limit, now=at(seconds)).jobs


def test_plain_jobs_of_a_limited_queue_are_claimed_by_rules_alone(playground: Playground) -> None:
    playground.add(queue="limited", run_at=at(-2))
    other = playground.add(queue="other", run_at=at(-1))
    _set(playground, "limited", max_running=1)
    claimant = playground.worker()
    exchanged = playground.exchange(claimant, limit=5)
    assert (exchanged.jobs, exchanged.ruled) == ((), Lane("limited", Priority.DEFAULT))
    with playground.engine.begin() as connection:
        behind = exchange(connection, (), claimant, 5, passed=[Lane("limited", Priority.DEFAULT)], now=at(0))
    assert [job.id for job in behind.jobs] == [other]
    _set(playground, "limited", max_running=None)
    assert len(playground.claim(claimant, 5)) == 1


def test_no_more_of_a_queue_run_than_its_limit_allows(playground: Playground) -> None:
    _set(playground, max_running=2)
    playground.add_many(2)
    playground.add_many(2, limits=("k",))
    playground.add_many(2, fair_key="x")
    claimant = playground.worker()
    running = _claim(playground, claimant)
    assert len(running) == 2
    assert _claim(playground, claimant) == ()
    assert playground.value("SELECT count(*) FROM jobs WHERE held_by IS NOT NULL") == 0
    playground.finish(claimant, end(running[0], State.SUCCESS))
    assert len(_claim(playground, claimant)) == 1


def test_what_ran_before_the_limit_was_set_counts(playground: Playground) -> None:
    playground.running()
    playground.add()
    _set(playground, max_running=1)
    assert _claim(playground, playground.worker()) == ()


def test_a_rate_of_a_queue_lets_jobs_start_as_tokens_come(playground: Playground) -> None:
    _set(playground, rate=Rate(2, 10.0, 3))
    playground.add_many(10)
    claimant = playground.worker()
    assert [len(_claim(playground, claimant, seconds=seconds)) for seconds in (0, 1, 5, 10, 100)] == [3, 0, 1, 1, 3]


def test_a_claim_that_is_given_back_takes_nothing_of_the_rate(playground: Playground) -> None:
    _set(playground, rate=Rate(2, 10.0))
    playground.add_many(5)
    claimant = playground.worker()
    second = _claim(playground, claimant)[1]
    with playground.engine.begin() as connection:
        transitions.release(connection, [claim_of(second)])
    assert len(_claim(playground, claimant)) == 1
    assert _claim(playground, claimant) == ()


def test_why_names_the_limit_of_the_queue(playground: Playground) -> None:
    claimant = playground.worker(knows=("t",))
    _set(playground, max_running=1, rate=Rate(1, 10.0))
    first, second = playground.add(run_at=at(-2)), playground.add(run_at=at(-1))
    (job,) = _claim(playground, claimant)
    assert job.id == first

    def codes() -> list[str]:
        with playground.engine.begin() as connection:
            return [reason.code for reason in reasons(read_facts(connection, second, 1e9, now=at(4)))]

    assert codes() == ["queue_full"]
    playground.finish(claimant, end(job, State.SUCCESS))
    assert codes() == ["queue_rate_limited"]


def test_slots_at_once_do_not_exceed_it(playground: Playground) -> None:
    _set(playground, max_running=3)
    playground.add_many(60, now=None)
    most: list[int] = []
    lane = Lane("default", Priority.DEFAULT)

    def work(claimant: Claimant) -> None:
        while playground.value("SELECT count(*) FROM jobs WHERE state IN ('PENDING', 'RUNNING')"):
            take = partial(claim_by_rules, claimant=claimant, lane=lane, limit=2)
            jobs = in_transaction(playground.engine, take).jobs
            most.append(playground.value("SELECT count(*) FROM jobs WHERE state = 'RUNNING'"))
            playground.finish(claimant, *(end(job, State.SUCCESS) for job in jobs), now=None)

    slots = [threading.Thread(target=work, args=(playground.worker(f"w{number}"),)) for number in range(4)]
    for slot in slots:
        slot.start()
    for slot in slots:
        slot.join(60)
    assert not any(slot.is_alive() for slot in slots)
    assert max(most) == 3
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") == 60


@pytest.mark.parametrize("paused", [True, False])
def test_a_claim_looks_whether_its_worker_lives_and_its_queue_is_open_once_it_is_its_turn(
    playground: Playground, paused: bool
) -> None:
    playground.add(limits=("k",), now=None)
    claimant = playground.worker()
    found: list[tuple[ClaimedJob, ...]] = []
    lane = Lane("default", Priority.DEFAULT)
    take = partial(claim_by_rules, claimant=claimant, lane=lane, limit=1)
    late = threading.Thread(target=lambda: found.append(in_transaction(playground.engine, take).jobs))
    with playground.engine.begin() as turn:
        turn.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('default', 1))")
        late.start()
        while not playground.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert late.is_alive()
        if paused:
            in_transaction(playground.engine, lambda connection: queue_settings.pause(connection, "default", by="us"))
        else:
            playground.sql("UPDATE workers SET ended_at = now()")
    late.join(30)
    assert found == [()]

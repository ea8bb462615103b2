"""Submits that come together are stored together, and none suffers for another."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from psycopg import OperationalError

from playground import Playground
from steeple.api.group_commit import Inbox
from steeple.domain.job import Idempotency, NewJob
from steeple.domain.priority import Lane, Priority
from steeple.domain.unique import OnConflict
from steeple.errors import UniqueKeyHeld
from steeple.settings import Settings
from steeple.store.database import Database
from steeple.store.engine import DatabaseError
from steeple.store.inbox import insert_jobs
from steeple.store.inbox_answers import Accepted, Answer
from steeple.store.inbox_line import InboxLine
from steeple.submission import new_id

T = TypeVar("T")


@dataclass
class Tally:
    """What the lines did."""

    batches: list[int] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lost_answers: int = 0
    """So many next commits have their answer lost."""


class Line(InboxLine):
    """A line that counts, and that can lose the answer of a commit."""

    def __init__(self, database: Database, tally: Tally) -> None:
        super().__init__(database)
        self._tally = tally

    async def insert(self, jobs: Sequence[NewJob]) -> list[Answer]:
        self._tally.batches.append(len(jobs))
        self._tally.at_once += 1
        self._tally.most_at_once = max(self._tally.most_at_once, self._tally.at_once)
        try:
            return await super().insert(jobs)
        finally:
            self._tally.at_once -= 1

    async def _insert_quickly(self, jobs: Sequence[NewJob]) -> list[Answer] | None:
        answers = await super()._insert_quickly(jobs)
        if self._tally.lost_answers:
            self._tally.lost_answers -= 1
            raise OperationalError("the connection was lost when the commit was done")
        return answers


def job(**fields: Any) -> NewJob:
    return NewJob(new_id(), **({"task": "t", "args": "{}"} | fields))


def run(playground: Playground, work: Callable[[Inbox, Tally], Coroutine[Any, Any, T]], wake: Any = None) -> T:
    async def go() -> T:
        settings = Settings(database_url=playground.url)
        loose, batches = Database(settings, size=4, is_atomic=False), Database(settings, size=2)
        hasty = Database(settings, size=2, is_atomic=False, lock_timeout=0.1)
        tally = Tally()
        lines, keyed = [Line(loose, tally), Line(loose, tally)], [InboxLine(hasty)]
        inbox = Inbox(lines, batches, wake or (lambda lanes: None), keyed=keyed)
        try:
            return await work(inbox, tally)
        finally:
            await inbox.close()
            for database in (loose, hasty, batches):
                await database.close()

    return asyncio.run(go())


def count(playground: Playground) -> int:
    return int(playground.value("SELECT count(*) FROM jobs"))


def test_submits_that_come_together_share_a_transaction(playground: Playground) -> None:
    async def work(inbox: Inbox, tally: Tally) -> list[Accepted]:
        answers = await asyncio.gather(*(inbox.put(job()) for _ in range(500)))
        assert len(tally.batches) <= 5
        assert tally.most_at_once <= 2
        return answers

    answers = run(playground, work)
    assert len({answer.id for answer in answers}) == 500
    assert count(playground) == 500


def test_each_submitter_gets_its_own_answer(playground: Playground) -> None:
    jobs = [job(args=f'{{"n": {number}}}') for number in range(100)]

    async def work(inbox: Inbox, _: Tally) -> list[Accepted]:
        return await asyncio.gather(*map(inbox.put, jobs))

    assert [answer.id for answer in run(playground, work)] == [each.id for each in jobs]


def test_one_bad_row_does_not_fail_its_neighbours(playground: Playground) -> None:
    jobs = [job(), job(task="a\x00b"), job(timeout=1e400), job(max_attempts=2**40), job()]

    async def work(inbox: Inbox, _: Tally) -> list[Any]:
        return await asyncio.gather(*map(inbox.put, jobs), return_exceptions=True)

    first, *refused, last = run(playground, work)
    assert all(isinstance(each, DatabaseError | ValueError) for each in refused)
    assert (first.id, last.id) == (jobs[0].id, jobs[4].id)
    assert count(playground) == 2


def test_a_key_that_is_held_refuses_one_of_those_that_come_together(playground: Playground) -> None:
    jobs = [job(unique_key="u"), job(unique_key="u"), job()]

    async def work(inbox: Inbox, _: Tally) -> list[Any]:
        return await asyncio.gather(*map(inbox.put, jobs), return_exceptions=True)

    first, second, third = run(playground, work)
    assert {type(first), type(second)} == {Accepted, UniqueKeyHeld}
    assert isinstance(third, Accepted)


def test_a_commit_whose_answer_is_lost_is_repeated_without_harm(playground: Playground) -> None:
    jobs = [job(unique_key="u"), job(idempotency=Idempotency("o", "k", b"h")), job()]

    async def work(inbox: Inbox, tally: Tally) -> list[Accepted]:
        tally.lost_answers = 1
        return await asyncio.gather(*map(inbox.put, jobs))

    answers = run(playground, work)
    assert [(answer.id, answer.is_replay) for answer in answers] == [(each.id, False) for each in jobs]
    assert count(playground) == 3


def test_a_lost_connection_is_mended_before_anyone_hears_of_it(playground: Playground) -> None:
    async def work(inbox: Inbox, _: Tally) -> None:
        await inbox.put(job())
        await asyncio.to_thread(
            playground.sql,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        await asyncio.gather(*(inbox.put(job()) for _ in range(20)))

    run(playground, work)
    assert count(playground) == 21


def test_a_request_that_is_given_up_leaves_the_others_alone(playground: Playground) -> None:
    async def work(inbox: Inbox, _: Tally) -> Accepted:
        given_up = asyncio.create_task(inbox.put(job()))
        kept = asyncio.create_task(inbox.put(job()))
        await asyncio.sleep(0)
        given_up.cancel()
        return await kept

    assert run(playground, work)
    assert count(playground) == 2


def test_lanes_are_woken_once_per_commit_and_after_it(playground: Playground) -> None:
    woken: list[dict[Lane, int]] = []
    stored: list[int] = []

    def wake(lanes: dict[Lane, int]) -> None:
        woken.append(lanes)
        stored.append(count(playground))

    async def work(inbox: Inbox, tally: Tally) -> int:
        jobs = [job(queue="a"), job(queue="a"), job(queue="b", priority=Priority.LOW), job(delay=60.0)]
        await asyncio.gather(*map(inbox.put, jobs))
        return len(tally.batches)

    assert run(playground, work, wake) == 1
    assert woken == [{Lane("a", Priority.DEFAULT): 2, Lane("b", Priority.LOW): 1}]
    assert stored == [4]


def test_a_replay_wakes_nobody(playground: Playground) -> None:
    woken: list[dict[Lane, int]] = []

    async def work(inbox: Inbox, _: Tally) -> None:
        for _attempt in range(2):
            await inbox.put(job(idempotency=Idempotency("o", "k", b"h")))

    run(playground, work, woken.append)
    assert len(woken) == 1


def test_more_submits_than_can_wait_are_turned_away(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    from steeple.api.problem_kinds import Kind
    from steeple.api.problems import Refusal

    monkeypatch.setattr("steeple.api.group_commit._MOST_WAITING", 10)

    async def work(inbox: Inbox, _: Tally) -> list[Any]:
        return await asyncio.gather(*(inbox.put(job()) for _ in range(15)), return_exceptions=True)

    answers = run(playground, work)
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {answer.problem.kind for answer in refused} == {Kind.UNAVAILABLE}
    assert len(answers) - len(refused) == count(playground) == 10


def test_large_arguments_are_spread_over_transactions(playground: Playground) -> None:
    args = f'{{"value": "{"x" * 250_000}"}}'

    async def work(inbox: Inbox, tally: Tally) -> int:
        await asyncio.gather(*(inbox.put(job(args=args)) for _ in range(40)))
        return len(tally.batches)

    assert 2 < run(playground, work) < 10
    assert count(playground) == 40


@pytest.mark.parametrize("way", OnConflict)
@pytest.mark.parametrize("is_committed", [True, False], ids=["committed", "rolled back"])
def test_a_long_transaction_that_has_a_key_holds_up_only_who_wants_that_key(
    playground: Playground, way: OnConflict, is_committed: bool
) -> None:
    """As a program's own transaction can be, which a job has joined."""
    long = playground.transaction()
    held = job(unique_key="held", delay=60.0)
    insert_jobs(long, [held])

    async def work(inbox: Inbox, _: Tally) -> list[Any]:
        stuck = [asyncio.create_task(inbox.put(job(unique_key="held", on_conflict=way))) for _ in range(2)]
        others = [job(unique_key=f"free {number}") for number in range(20)] + [job() for _ in range(20)]
        for turn in range(3):
            plain = [replace(each, id=new_id(), queue=f"q{turn}") for each in others[20:]]
            await asyncio.wait_for(asyncio.gather(*map(inbox.put, plain)), 5)
        await asyncio.wait_for(asyncio.gather(*map(inbox.put, others)), 5)
        assert not any(each.done() for each in stuck)
        await asyncio.to_thread(long.commit if is_committed else long.rollback)
        return await asyncio.gather(*stuck, return_exceptions=True)

    answers = run(playground, work)
    long.close()
    if way is OnConflict.REJECT:
        assert sum(isinstance(answer, UniqueKeyHeld) for answer in answers) == (2 if is_committed else 1)
    else:
        assert len({answer.id for answer in answers}) == 1
        assert (answers[0].id == held.id) == is_committed
    assert playground.value("SELECT count(*) FROM jobs WHERE unique_key = 'held'") == 1


@pytest.mark.parametrize("way", [OnConflict.REPLACE, OnConflict.DEBOUNCE])
def test_a_long_transaction_that_takes_a_job_over_holds_up_only_who_wants_that_job(
    playground: Playground, way: OnConflict
) -> None:
    holder = playground.add(unique_key="held", delay=60.0, now=None)
    long = playground.transaction()
    insert_jobs(long, [job(unique_key="held", on_conflict=way, delay=90.0)], apart=lambda work: None)

    async def work(inbox: Inbox, _: Tally) -> Accepted:
        stuck = asyncio.create_task(inbox.put(job(unique_key="held", on_conflict=way, delay=120.0)))
        others = [job(unique_key="free"), job(), job()]
        await asyncio.wait_for(asyncio.gather(*map(inbox.put, others)), 5)
        assert not stuck.done()
        await asyncio.to_thread(long.commit)
        return await stuck

    answer = run(playground, work)
    long.close()
    assert (answer.id, answer.way) == (holder, way)

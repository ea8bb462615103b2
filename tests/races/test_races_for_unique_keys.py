"""Many who want one unique key at the same moment, and those who take over a job that is just being claimed."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from racing import Act, Racer, race, together
from sqlalchemy import Connection

from playground import NOW, Playground, at, end
from steeple.domain.job import Finish, NewJob
from steeple.domain.states import State
from steeple.domain.unique import OnConflict
from steeple.embedded.processes import wait_until
from steeple.errors import UniqueKeyHeld
from steeple.store import transitions
from steeple.store.engine import in_transaction
from steeple.store.exchange import Claimant, exchange
from steeple.store.inbox import insert_jobs
from steeple.store.inbox_answers import Accepted
from steeple.submission import new_id

SUBMITTERS = 8
P, R = State.PENDING, State.RUNNING


def job(**fields: Any) -> NewJob:
    return NewJob(new_id(), **({"task": "t", "args": "{}", "unique_key": "u"} | fields))


def submit(new: NewJob, seconds: float = 0.0) -> Act:
    """Gives the answer."""
    return lambda connection: insert_jobs(connection, [new], now=at(seconds))[0]


def claim(claimant: Claimant) -> Act:
    """Gives the ids of the claimed jobs."""
    return lambda connection: [each.id for each in exchange(connection, [], claimant, 5, now=NOW).jobs]


def numbered(way: OnConflict, **fields: Any) -> list[NewJob]:
    return [
        job(on_conflict=way, args=json.dumps({"number": number}), delay=float(number), **fields)
        for number in range(SUBMITTERS)
    ]


@pytest.mark.parametrize("way", OnConflict)
@pytest.mark.parametrize("has_holder", [False, True], ids=["nobody holds it", "it is held"])
def test_many_submitters_of_one_key_make_one_job(playground: Playground, way: OnConflict, has_holder: bool) -> None:
    held = [playground.add(unique_key="u", args='{"number": -1}')] if has_holder else []
    jobs = numbered(way)
    answers = together(playground, *map(submit, jobs))
    (left,) = playground.sql("SELECT id, args ->> 'number' AS number, run_at FROM jobs")
    accepted = [answer for answer in answers if isinstance(answer, Accepted)]
    assert {answer.id for answer in accepted} <= {left.id}
    made = [answer for answer in accepted if answer.way is None]
    assert len(made) == 1 - len(held)
    if way is OnConflict.REJECT:
        assert [type(answer) for answer in answers].count(UniqueKeyHeld) == SUBMITTERS - len(made)
    else:
        assert (
            Counter(answer.way for answer in accepted)
            == Counter({way: SUBMITTERS - len(made), None: len(made)}) - Counter()
        )
    if way is OnConflict.DEBOUNCE:
        assert left.run_at == at(SUBMITTERS - 1)
    if way is OnConflict.REPLACE:
        assert left.run_at == at(int(left.number))


@pytest.mark.parametrize("way", OnConflict)
def test_many_submitters_of_many_keys_in_batches_make_one_job_of_each(playground: Playground, way: OnConflict) -> None:
    """In orders of their own: none waits for another in a circle."""
    keys = [f"key {number}" for number in range(20)]
    playground.add_many(1, unique_key=keys[3])
    playground.add_many(1, unique_key=keys[17])

    def batch(turn: int) -> Act:
        wanted = [job(unique_key=key, on_conflict=way) for key in (keys[turn:] + keys[:turn])[:: (-1) ** turn]]
        return lambda _: in_transaction(playground.engine, lambda own: insert_jobs(own, wanted, now=NOW))

    results = together(playground, *(batch(turn) for turn in range(SUBMITTERS)))
    assert not [result for result in results if isinstance(result, Exception)]
    counts = playground.sql("SELECT unique_key, count(*) AS jobs FROM jobs GROUP BY unique_key")
    assert {row.unique_key: row.jobs for row in counts} == dict.fromkeys(keys, 1)


@pytest.mark.parametrize("way", OnConflict)
def test_of_many_submitters_that_meet_a_holder_whose_period_is_over_one_makes_a_job(
    playground: Playground, way: OnConflict
) -> None:
    old = playground.running(unique_key="u", unique_period=1.0)
    answers = together(playground, *(submit(new, seconds=2) for new in numbered(way, unique_period=60.0)))
    made = [answer for answer in answers if isinstance(answer, Accepted) and answer.way is None]
    assert len(made) == 1
    assert playground.value("SELECT count(*) FROM jobs") == 2
    assert playground.read(old.id).state == R


def test_a_job_that_is_being_claimed_is_not_replaced(playground: Playground) -> None:
    holder = playground.add(unique_key="u", args='{"a": 1}')
    claimed, answer = race(
        playground, claim(playground.worker()), submit(job(on_conflict=OnConflict.REPLACE, args='{"a": 2}'))
    )
    assert claimed == [holder]
    assert isinstance(answer, UniqueKeyHeld)
    assert playground.read(holder).args == '{"a": 1}'


def test_a_job_that_lets_go_as_it_is_claimed_makes_room_for_the_one_that_would_replace_it(
    playground: Playground,
) -> None:
    holder = playground.add(unique_key="u", unique_states=(P,))
    new = job(on_conflict=OnConflict.REPLACE)
    claimed, answer = race(playground, claim(playground.worker()), submit(new))
    assert claimed == [holder]
    assert isinstance(answer, Accepted)
    assert (answer.id, answer.way) == (new.id, None)


def test_a_job_that_is_being_replaced_is_not_claimed_with_what_it_was(playground: Playground) -> None:
    holder = playground.add(unique_key="u", args='{"a": 1}')
    claimant = playground.worker()
    answer, claimed = race(playground, submit(job(on_conflict=OnConflict.REPLACE, args='{"a": 2}')), claim(claimant))
    assert isinstance(answer, Accepted)
    assert claimed == []
    (later,) = playground.claim(claimant)
    assert (later.id, later.args) == (holder, '{"a": 2}')


@pytest.mark.parametrize("way", [OnConflict.REPLACE, OnConflict.DEBOUNCE])
def test_a_finish_does_not_wait_for_a_long_transaction_that_came_too_late_to_take_over(
    playground: Playground, way: OnConflict
) -> None:
    """It saw the holder pending, waits for a claim, and then has the lock of a job that runs: it gives that back."""
    claimant = playground.worker()
    holder = playground.add(unique_key="u")
    claiming = playground.transaction()
    results: list[Any] = []

    def submit_once_it_is_being_claimed(long: Connection) -> Any:
        begin = long.begin_nested

        def begin_after_the_claim() -> Any:
            if not results:
                results.extend(claim(claimant)(claiming))
            return begin()

        long.begin_nested = begin_after_the_claim  # type: ignore[method-assign]
        wanted = job(on_conflict=way)
        (answer,) = insert_jobs(long, [wanted], now=NOW, apart=lambda work: in_transaction(playground.engine, work))
        return answer, playground.finish(claimant, Finish(holder, 1, State.SUCCESS, result="1"))

    racer = Racer(playground, submit_once_it_is_being_claimed)
    racer.start()
    assert wait_until(lambda: racer.is_held_up() or not racer.is_alive(), 30)
    claiming.commit()
    claiming.close()
    racer.join(30)
    assert results == [holder]
    answer, stale = racer.result
    assert isinstance(answer, UniqueKeyHeld)
    assert stale == ()
    assert playground.read(holder).state == State.SUCCESS


def test_a_finish_does_not_wait_for_a_long_transaction_that_had_its_job_let_go(playground: Playground) -> None:
    claimant = playground.worker()
    running = playground.running(claimant, unique_key="u", unique_period=1.0)
    with playground.transaction() as long:
        (answer,) = insert_jobs(
            long,
            [job()],
            now=NOW + timedelta(seconds=2),
            apart=lambda work: in_transaction(playground.engine, work),
        )
        assert isinstance(answer, Accepted)
        assert playground.finish(claimant, end(running, State.SUCCESS)) == ()
        long.commit()
    assert playground.value("SELECT count(*) FROM jobs") == 2


def test_an_explicit_retry_and_a_submit_of_one_key_make_one_holder(playground: Playground) -> None:
    ended = playground.ended(State.FAILED, unique_key="u")
    _, answer = race(playground, lambda connection: transitions.retry(connection, ended.id, now=NOW), submit(job()))
    assert isinstance(answer, UniqueKeyHeld)
    assert answer.job_id == str(ended.id)


def test_a_submit_and_an_explicit_retry_of_one_key_make_one_holder(playground: Playground) -> None:
    ended = playground.ended(State.FAILED, unique_key="u")
    new = job()
    _, refusal = race(playground, submit(new), lambda connection: transitions.retry(connection, ended.id, now=NOW))
    assert isinstance(refusal, UniqueKeyHeld)
    assert refusal.job_id == str(new.id)

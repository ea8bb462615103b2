"""What becomes of a job whose unique key is held: by its submitter's choice, and by what the holder is doing."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event
from unique_jobs import came_to, holder_of, insert, job, submit

from playground import NOW, Playground, at, end
from steeple.domain.job import Idempotency
from steeple.domain.priority import Priority
from steeple.domain.retry import Retry
from steeple.domain.states import State
from steeple.domain.unique import OnConflict
from steeple.errors import IdempotencyKeyReused
from steeple.store import transitions
from steeple.store.inbox_answers import Accepted

P, R, S, F, C = State
EXISTING, REPLACE, DEBOUNCE = OnConflict.EXISTING, OnConflict.REPLACE, OnConflict.DEBOUNCE


def test_existing_gives_the_holder_and_changes_nothing(playground: Playground) -> None:
    holder = playground.add(unique_key="u", args='{"a": 1}')
    before = playground.read(holder)
    answer = submit(playground, on_conflict=EXISTING, args='{"a": 2}', seconds=5)
    assert came_to(answer) == (str(holder), EXISTING)
    assert isinstance(answer, Accepted)
    assert not answer.has_become_due
    assert playground.read(holder) == before


def test_existing_gives_a_running_holder_too(playground: Playground) -> None:
    holder = playground.running(unique_key="u")
    assert came_to(submit(playground, on_conflict=EXISTING)) == (str(holder.id), EXISTING)


def test_a_pending_holder_becomes_what_the_new_job_would_be(playground: Playground) -> None:
    holder = playground.add(unique_key="u", run_at=at(1000), expires_at=at(2000), tags=("old",))
    until = datetime(2030, 1, 1, tzinfo=UTC)
    new = job(
        on_conflict=REPLACE,
        task="other",
        args='{"a": 1.50}',
        queue="q",
        priority=Priority.HIGH,
        tags=("new",),
        delay=90.0,
        expires_at=until,
        timeout=5.0,
        max_attempts=7,
        retry=Retry(max_attempts=7, initial=0.25),
        unique_period=60.0,
        unique_states=(P, R, S),
    )
    (answer,) = insert(playground, new, seconds=10)
    assert came_to(answer) == (str(holder), REPLACE)
    seen = playground.read(holder)
    for name in ("task", "args", "queue", "priority", "tags", "expires_at", "timeout", "max_attempts", "unique_states"):
        assert getattr(seen, name) == getattr(new, name), name
    assert (seen.state, seen.run_at, seen.created_at, seen.unique_until) == (P, at(100), NOW, at(70))
    assert playground.value("SELECT retry ->> 'initial' FROM jobs") == "0.25"
    assert playground.value("SELECT count(*) FROM jobs") == 1


def test_a_job_that_was_replaced_has_all_its_attempts_before_it(playground: Playground) -> None:
    claimant = playground.worker()
    tried = playground.running(claimant, unique_key="u", max_attempts=3)
    playground.finish(claimant, end(tried, P))
    submit(playground, on_conflict=REPLACE, max_attempts=1, seconds=1)
    seen = playground.read(tried.id)
    assert (seen.attempt, seen.max_attempts, seen.error, seen.started_at, seen.fence) == (0, 1, None, None, 1)
    assert [each.attempt for each in playground.attempts(tried.id)] == [1]
    (claimed,) = playground.claim(claimant, now=at(2))
    assert (claimed.id, claimed.attempt, claimed.fence) == (tried.id, 1, 2)


def test_a_replaced_job_that_is_due_is_told_so(playground: Playground) -> None:
    playground.add(unique_key="u", run_at=at(1000))
    now, later = submit(playground, on_conflict=REPLACE), submit(playground, on_conflict=REPLACE, delay=9.0)
    assert isinstance(now, Accepted)
    assert isinstance(later, Accepted)
    assert (now.has_become_due, later.has_become_due) == (True, False)


def test_debounce_pushes_the_time_to_run_and_nothing_else(playground: Playground) -> None:
    holder = playground.add(unique_key="u", delay=5.0, args='{"a": 1}')
    before = playground.read(holder)
    assert came_to(submit(playground, on_conflict=DEBOUNCE, delay=5.0, args='{"a": 2}', seconds=3)) == (
        str(holder),
        DEBOUNCE,
    )
    after = playground.read(holder)
    assert after.run_at == at(8)
    assert (after.args, after.created_at, after.fence) == (before.args, before.created_at, before.fence)


@pytest.mark.parametrize("times", [{"delay": 1.0}, {"run_at": NOW}, {}], ids=str)
def test_debounce_never_brings_a_job_forward(playground: Playground, times: dict[str, Any]) -> None:
    holder = playground.add(unique_key="u", delay=60.0)
    answer = submit(playground, on_conflict=DEBOUNCE, **times)
    assert isinstance(answer, Accepted)
    assert not answer.has_become_due
    assert playground.read(holder).run_at == at(60)


@pytest.mark.parametrize("way", [REPLACE, DEBOUNCE])
def test_a_running_holder_is_neither_replaced_nor_debounced(playground: Playground, way: OnConflict) -> None:
    holder = playground.running(unique_key="u")
    before = playground.read(holder.id)
    assert holder_of(submit(playground, on_conflict=way, delay=9.0, args='{"a": 2}')) == str(holder.id)
    assert playground.read(holder.id) == before


@pytest.mark.parametrize("way", [REPLACE, DEBOUNCE])
def test_a_holder_that_has_ended_is_neither_replaced_nor_debounced(playground: Playground, way: OnConflict) -> None:
    holder = playground.ended(S, unique_key="u", unique_states=(P, R, S))
    assert holder_of(submit(playground, on_conflict=way)) == str(holder.id)


def test_what_many_in_a_batch_want_is_done_in_their_order(playground: Playground) -> None:
    holder = playground.add(unique_key="u")
    other = playground.add(unique_key="v")
    wanted = [
        job(on_conflict=REPLACE, args='{"a": 1}', delay=10.0),
        job(on_conflict=DEBOUNCE, delay=20.0),
        job(on_conflict=REPLACE, unique_key="v", args='{"a": 3}'),
        job(on_conflict=REPLACE, args='{"a": 2}', delay=5.0),
        job(on_conflict=EXISTING),
        job(),
    ]
    *taken, refused = insert(playground, *wanted)
    assert [came_to(answer)[0] for answer in taken] == [str(each) for each in (holder, holder, other, holder, holder)]
    assert holder_of(refused) == str(holder)
    assert (playground.read(holder).args, playground.read(holder).run_at) == ('{"a": 2}', at(5))
    assert playground.read(other).args == '{"a": 3}'


def test_in_a_batch_of_one_key_the_first_is_made_and_the_last_replaces_it(playground: Playground) -> None:
    wanted = [job(on_conflict=REPLACE, args=f'{{"a": {number}}}') for number in range(3)]
    answers = insert(playground, *wanted)
    assert [came_to(answer)[0] for answer in answers] == [str(wanted[0].id)] * 3
    assert playground.read(wanted[0].id).args == '{"a": 2}'


@pytest.mark.parametrize("way", [EXISTING, REPLACE, DEBOUNCE])
def test_many_of_one_key_in_a_batch_are_answered_soon(playground: Playground, way: OnConflict) -> None:
    """None of them by a statement of its own."""
    holder = playground.add(unique_key="u")
    wanted = [job(on_conflict=way, args=f'{{"n": {number}}}', delay=float(number)) for number in range(1000)]
    statements: list[str] = []
    event.listen(playground.engine, "before_cursor_execute", lambda *words: statements.append(words[2]))
    answers = insert(playground, *wanted)
    assert {came_to(answer) for answer in answers} == {(str(holder), way)}
    assert len(statements) < 10
    seen = playground.read(holder)
    assert (seen.args, seen.run_at) == {
        EXISTING: ("{}", at(0)),
        REPLACE: ('{"n": 999}', at(999)),
        DEBOUNCE: ("{}", at(999)),
    }[way]


@pytest.mark.parametrize("way", [EXISTING, REPLACE, DEBOUNCE])
def test_a_repeated_request_comes_to_the_same_job_though_that_has_ended_since(
    playground: Playground, way: OnConflict
) -> None:
    key = Idempotency("owner", "key", b"hash")
    holder = playground.add(unique_key="u")
    assert came_to(submit(playground, on_conflict=way, idempotency=key)) == (str(holder), way)
    with playground.engine.begin() as connection:
        transitions.cancel(connection, holder)
    again = submit(playground, on_conflict=way, idempotency=key)
    assert isinstance(again, Accepted)
    assert (again.id, again.is_replay, again.has_become_due) == (holder, True, False)
    assert playground.value("SELECT count(*) FROM jobs") == 1


def test_another_request_with_the_key_of_one_that_made_no_job_is_refused(playground: Playground) -> None:
    playground.add(unique_key="u")
    submit(playground, on_conflict=EXISTING, idempotency=Idempotency("owner", "key", b"one"))
    answer = submit(playground, on_conflict=EXISTING, idempotency=Idempotency("owner", "key", b"another"))
    assert isinstance(answer, IdempotencyKeyReused)


def test_a_repeat_is_a_repeat_first_and_a_conflict_second(playground: Playground) -> None:
    """The request that made the holder, sent again: nothing of it is replaced."""
    key = Idempotency("owner", "key", b"hash")
    made = came_to(submit(playground, on_conflict=REPLACE, idempotency=key, args='{"a": 1}'))[0]
    submit(playground, on_conflict=REPLACE, args='{"a": 2}')
    again = submit(playground, on_conflict=REPLACE, idempotency=key, args='{"a": 1}')
    assert isinstance(again, Accepted)
    assert (str(again.id), again.is_replay, playground.read(again.id).args) == (made, True, '{"a": 2}')

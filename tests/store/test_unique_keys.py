"""What becomes of a job whose unique key is held: four choices, holders' states and periods; no transition collides."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from playground import NOW, Playground, at, claim_of, end
from steeple.domain.job import ClaimedJob, Idempotency, NewJob
from steeple.domain.priority import Binding, Priority
from steeple.domain.retry import Retry
from steeple.domain.states import State
from steeple.domain.unique import OnConflict
from steeple.errors import IdempotencyKeyReused, UniqueKeyHeld
from steeple.store import transitions
from steeple.store.exchange import Claimant
from steeple.store.inbox import insert_jobs
from steeple.store.inbox_answers import Accepted, Answer
from steeple.submission import new_id

P, R, S, F, C = State
EXISTING, REPLACE, DEBOUNCE = OnConflict.EXISTING, OnConflict.REPLACE, OnConflict.DEBOUNCE


def job(**fields: Any) -> NewJob:
    return NewJob(new_id(), **({"task": "t", "args": "{}", "unique_key": "u"} | fields))


def insert(playground: Playground, *jobs: NewJob, seconds: float = 0.0) -> list[Answer]:
    with playground.engine.begin() as connection:
        return insert_jobs(connection, jobs, now=at(seconds))


def submit(playground: Playground, *, seconds: float = 0.0, **fields: Any) -> Answer:
    return insert(playground, job(**fields), seconds=seconds)[0]


def holder_of(answer: Answer) -> str:
    assert isinstance(answer, UniqueKeyHeld)
    return answer.job_id


def came_to(answer: Answer) -> tuple[str, OnConflict | None]:
    assert isinstance(answer, Accepted)
    return str(answer.id), answer.way


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


@pytest.mark.parametrize("states", [(P,), (P, R), (P, R, S), (P, R, S, F, C), (P, F), (P, C), None], ids=str)
def test_a_job_holds_its_key_in_its_states_only(playground: Playground, states: tuple[State, ...] | None) -> None:
    """Each state that a job can be in; of one that it let go of its key for, a later one among its states is none."""
    held_in = states or (P, R)
    makers: dict[State, Callable[..., Any]] = {
        P: lambda **fields: playground.add(**fields),
        R: lambda **fields: playground.running(**fields).id,
        **{state: (lambda state=state, **fields: playground.ended(state, **fields).id) for state in (S, F)},
        C: lambda **fields: _cancelled(playground, **fields),
    }
    passed = {P: (P,), R: (P, R), S: (P, R, S), F: (P, R, F), C: (P, C)}
    for state, make in makers.items():
        key = f"key {state}"
        made = make(unique_key=key, unique_states=states, queue=f"q{state}")
        answer = submit(playground, unique_key=key)
        holds = all(step in held_in for step in passed[state])
        assert isinstance(answer, UniqueKeyHeld) == holds, state
        assert playground.read(made).state == state


def _cancelled(playground: Playground, **fields: Any) -> Any:
    made = playground.add(**fields)
    with playground.engine.begin() as connection:
        transitions.cancel(connection, made, now=NOW)
    return made


_BACK: dict[str, Callable[[Playground, Claimant, ClaimedJob], Any]] = {
    "a retry later": lambda playground, claimant, job: playground.finish(claimant, end(job, P)),
    "a rescue": lambda playground, _, job: _act(playground, transitions.rescue, [claim_of(job)], "gone"),
    "a release": lambda playground, _, job: _act(playground, transitions.release, [claim_of(job)]),
}


def _act(playground: Playground, act: Callable[..., Any], *words: Any) -> Any:
    with playground.engine.begin() as connection:
        return act(connection, *words)


@pytest.mark.parametrize("way_back", _BACK)
@pytest.mark.parametrize("states", [(P,), (P, S), (P, F), (P, S, F, C)], ids=str)
def test_coming_back_from_running_never_meets_the_next_holder(
    playground: Playground, states: tuple[State, ...], way_back: str
) -> None:
    """The next one holds the key by then. Beside it, a batch mate, whose finish must not fail with it."""
    claimant = playground.worker()
    running = playground.running(claimant, unique_key="u", unique_states=states)
    following = submit(playground, queue="later")
    assert came_to(following)[1] is None
    _BACK[way_back](playground, claimant, running)
    assert playground.read(running.id).state == P
    assert holder_of(submit(playground)) == came_to(following)[0]
    again = _claim_in(playground, claimant, "default")
    assert again.id == running.id
    playground.finish(claimant, end(again, S))
    assert playground.read(running.id).state == S


SUBSETS = [(P, *rest) for size in range(5) for rest in itertools.combinations((R, S, F, C), size)]
"""All that may be chosen."""


@pytest.mark.parametrize("states", SUBSETS, ids=str)
def test_no_transition_but_an_explicit_retry_meets_another_holder(
    playground: Playground, states: tuple[State, ...]
) -> None:
    """After each step somebody else takes the key if it is free, and the next step must go through all the same."""
    claimant = playground.worker()
    ways = itertools.product(("finish", "later", "rescue", "release", "cancel"), (S, F, C))
    for number, (first, last) in enumerate(ways):
        key, queue = f"key {number}", f"q{number}"
        playground.add(unique_key=key, unique_states=states, queue=queue)
        _take(playground, key)
        mine = _claim_in(playground, claimant, queue)
        _take(playground, key)
        mine = _through(playground, claimant, queue, key, mine, first)
        if last is C:
            _act(playground, transitions.cancel, mine.id)
            assert playground.finish(claimant, end(mine, C)) == ()
        else:
            assert playground.finish(claimant, end(mine, last)) == ()
        assert playground.read(mine.id).state == last
        _take(playground, key)


def _take(playground: Playground, key: str) -> None:
    submit(playground, unique_key=key, queue="rivals", delay=10_000.0)


def _claim_in(playground: Playground, claimant: Claimant, queue: str) -> ClaimedJob:
    (claimed,) = playground.claim(replace(claimant, binding=Binding(queues=(queue,))), now=at(3600))
    return claimed


def _through(
    playground: Playground, claimant: Claimant, queue: str, key: str, mine: ClaimedJob, way: str
) -> ClaimedJob:
    """Back to PENDING once and claimed again, or on as it is."""
    match way:
        case "later":
            playground.finish(claimant, end(mine, P))
        case "rescue":
            _act(playground, transitions.rescue, [claim_of(mine)], "gone")
        case "release":
            _act(playground, transitions.release, [claim_of(mine)])
        case _:
            return mine
    _take(playground, key)
    return _claim_in(playground, claimant, queue)


@pytest.mark.parametrize("states", [(P,), (P, R), (P, R, S)], ids=str)
def test_an_explicit_retry_that_meets_a_holder_is_refused(playground: Playground, states: tuple[State, ...]) -> None:
    ended = playground.ended(F, unique_key="u", unique_states=states)
    following = came_to(submit(playground, delay=60.0))[0]
    with pytest.raises(UniqueKeyHeld) as refused:
        _act(playground, transitions.retry, ended.id)
    assert refused.value.job_id == following
    assert playground.read(ended.id).state == F


@pytest.mark.parametrize("states", [(P,), (P, R), (P, R, F)], ids=str)
def test_after_an_explicit_retry_a_job_holds_its_key_again(playground: Playground, states: tuple[State, ...]) -> None:
    ended = playground.ended(F, unique_key="u", unique_states=states)
    _act(playground, transitions.retry, ended.id)
    assert holder_of(submit(playground)) == str(ended.id)


def test_a_period_counts_from_the_submit_of_the_holder(playground: Playground) -> None:
    holder = playground.add(unique_key="u", unique_period=60.0, delay=1000.0)
    assert playground.read(holder).unique_until == at(60)
    assert holder_of(submit(playground, seconds=59.9)) == str(holder)
    following = came_to(submit(playground, seconds=60))[0]
    assert following != str(holder)
    assert holder_of(submit(playground, seconds=61)) == following
    assert playground.read(holder).state == P


@pytest.mark.parametrize("state", [P, R, S])
def test_a_holder_whose_period_is_over_lets_go_in_whatever_state(playground: Playground, state: State) -> None:
    fields: dict[str, Any] = {"unique_key": "u", "unique_states": (P, R, S), "unique_period": 60.0}
    made = {
        P: lambda: playground.add(**fields),
        R: lambda: playground.running(**fields).id,
        S: lambda: playground.ended(S, **fields).id,
    }[state]()
    assert holder_of(submit(playground, seconds=59)) == str(made)
    assert came_to(submit(playground, seconds=60))[1] is None
    assert playground.read(made).state == state


@pytest.mark.parametrize("way", OnConflict)
def test_a_period_that_is_over_makes_room_for_a_new_job_whatever_was_to_be_done(
    playground: Playground, way: OnConflict
) -> None:
    holder = playground.add(unique_key="u", unique_period=60.0)
    assert came_to(submit(playground, on_conflict=way, seconds=61)) != (str(holder), way)
    assert playground.value("SELECT count(*) FROM jobs") == 2


def test_a_job_that_comes_back_after_its_period_meets_nobody(playground: Playground) -> None:
    claimant = playground.worker()
    running = playground.running(claimant, unique_key="u", unique_period=60.0)
    submit(playground, seconds=61)
    playground.finish(claimant, end(running, P), now=at(62))
    assert playground.read(running.id).state == P


def test_an_explicit_retry_after_the_period_leaves_the_key_alone(playground: Playground) -> None:
    ended = playground.ended(F, unique_key="u", unique_period=60.0)
    following = came_to(submit(playground, seconds=61))[0]
    with playground.engine.begin() as connection:
        transitions.retry(connection, ended.id, now=at(62))
    assert playground.read(ended.id).state == P
    assert holder_of(submit(playground, seconds=63)) == following


def test_an_explicit_retry_has_a_holder_let_go_whose_period_is_over(playground: Playground) -> None:
    ended = playground.ended(F, unique_key="u")
    playground.add(unique_key="u", unique_period=60.0, delay=1000.0)
    with playground.engine.begin() as connection:
        transitions.retry(connection, ended.id, now=at(61))
    assert holder_of(submit(playground, seconds=62)) == str(ended.id)


@pytest.mark.parametrize("way", [EXISTING, REPLACE, DEBOUNCE])
def test_a_repeated_request_comes_to_the_same_job_though_that_has_ended_since(
    playground: Playground, way: OnConflict
) -> None:
    key = Idempotency("owner", "key", b"hash")
    holder = playground.add(unique_key="u")
    assert came_to(submit(playground, on_conflict=way, idempotency=key)) == (str(holder), way)
    _act(playground, transitions.cancel, holder)
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

"""When a job holds its unique key: in which states, for how long; and that no transition meets another holder."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from unique_jobs import came_to, holder_of, submit

from playground import NOW, Playground, at, claim_of, end
from steeple.domain.job import ClaimedJob
from steeple.domain.priority import Binding
from steeple.domain.states import State
from steeple.domain.unique import OnConflict
from steeple.errors import UniqueKeyHeld
from steeple.store import transitions
from steeple.store.exchange import Claimant

P, R, S, F, C = State
EXISTING, REPLACE, DEBOUNCE = OnConflict.EXISTING, OnConflict.REPLACE, OnConflict.DEBOUNCE


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

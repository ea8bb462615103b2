"""Jobs that limits have put aside: when they may try again."""

import pytest

from playground import Playground, at, end
from steeple.domain.job import Claim
from steeple.domain.limits import Block, Limit, Rate
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.store import limits, transitions
from steeple.store.parking import holders, unpark, unpark_of
from steeple.store.ruled_claims import claim_by_rules

_LANE = Lane("default", Priority.DEFAULT)


def _set(playground: Playground, limit: Limit) -> None:
    with playground.engine.begin() as connection:
        limits.set_limit(connection, limit)


def _held(playground: Playground) -> int:
    found: int = playground.value("SELECT count(*) FROM jobs WHERE held_by IS NOT NULL")
    return found


def _claim(playground: Playground, limit: int = 10) -> list[object]:
    claimant = playground.worker()
    with playground.engine.begin() as connection:
        return list(claim_by_rules(connection, claimant, _LANE, limit, now=at(0)).jobs)


def test_what_a_rate_holds_back_is_let_go_as_tokens_come(playground: Playground) -> None:
    _set(playground, Limit("api", rate=Rate(2, 1.0)))
    playground.add_many(10, limits=("api",), run_at=at(-1))
    assert len(_claim(playground)) == 2
    with playground.engine.begin() as connection:
        assert holders(connection, Block.RATE) == ["api"]
        nothing = unpark(connection, Block.RATE, "api", now=at(0.25))
        one = unpark(connection, Block.RATE, "api", now=at(0.5))
    assert nothing.jobs == 0
    assert nothing.next_in == pytest.approx(0.25)
    assert one.jobs == 1
    assert _held(playground) == 7


@pytest.mark.parametrize("key", ["customer:1", "customer:*", "cust*:1"])
def test_a_change_of_a_limit_lets_all_go_that_it_held_back(playground: Playground, key: str) -> None:
    _set(playground, Limit("customer:1", max_running=1))
    playground.add_many(3, limits=("customer:1",), run_at=at(-1))
    _claim(playground)
    assert _held(playground) == 2
    with playground.engine.begin() as connection:
        assert unpark_of(connection, "customer:2") == unpark_of(connection, "customer_1") == 0
        assert unpark_of(connection, key) == 2


@pytest.mark.parametrize("how", ["finish", "cancel", "release", "rescue"])
def test_the_next_job_may_start_however_the_running_one_leaves(playground: Playground, how: str) -> None:
    _set(playground, Limit("k", max_running=1))
    first, second = (playground.add(limits=("k",), run_at=at(seconds)) for seconds in (-2, -1))
    claimant = playground.worker()
    with playground.engine.begin() as connection:
        (job,) = claim_by_rules(connection, claimant, _LANE, 5, now=at(0)).jobs
    assert job.id == first
    assert _held(playground) == 1
    claim = (job.id, job.fence)
    with playground.engine.begin() as connection:
        match how:
            case "release":
                transitions.release(connection, [Claim(*claim)])
            case "rescue":
                transitions.rescue(connection, [Claim(*claim)], "it died")
            case "cancel":
                transitions.cancel(connection, first)
    if how in {"finish", "cancel"}:
        playground.finish(claimant, end(job, State.SUCCESS if how == "finish" else State.CANCELLED))
    assert playground.value("SELECT held_by FROM jobs WHERE id = :id", id=second) is None


def test_one_job_of_each_lane_may_try(playground: Playground) -> None:
    """The best of all might be in a lane that no live worker serves."""
    _set(playground, Limit("k", max_running=1))
    claimant = playground.worker()
    playground.add(limits=("k",), run_at=at(-9))
    for queue, priority in (("default", "default"), ("default", "low"), ("other", "high")):
        playground.add_many(2, limits=("k",), queue=queue, priority=Priority(priority), run_at=at(-1))
    with playground.engine.begin() as connection:
        (job,) = claim_by_rules(connection, claimant, _LANE, 1, now=at(0)).jobs
    for lane in (_LANE, Lane("default", Priority.LOW), Lane("other", Priority.HIGH)):
        with playground.engine.begin() as connection:
            assert claim_by_rules(connection, claimant, lane, 9, now=at(0)).jobs == ()
    assert _held(playground) == 6
    playground.finish(claimant, end(job, State.SUCCESS))
    assert _held(playground) == 3

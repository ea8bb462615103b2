"""A turn that a limit has given is not lost, whatever becomes of the job that got it; and whom claims wait for."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

from playground import Playground, end
from steeple.domain.job import ClaimedJob
from steeple.domain.limits import Block, Limit
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.store import limits, transitions
from steeple.store.engine import Connection
from steeple.store.exchange import Claimant
from steeple.store.parking import holders
from steeple.store.ruled_claims import claim_by_rules
from steeple.store.transitions import Edit

_LANE = Lane("default", Priority.DEFAULT)


def _set(playground: Playground, *keys: str) -> None:
    with playground.engine.begin() as connection:
        for key in keys:
            limits.set_limit(connection, Limit(key, max_running=1))


def _claim(playground: Playground, claimant: Claimant, lane: Lane = _LANE) -> tuple[ClaimedJob, ...]:
    """As a slot does: again while others are put aside."""
    while True:
        with playground.engine.begin() as connection:
            ruled = claim_by_rules(connection, claimant, lane, 9)
        if ruled.jobs or not ruled.has_parked:
            return ruled.jobs


def _add(playground: Playground, *keys: str, seconds: float = 60, **fields: object) -> UUID:
    """A job that has been due for so long."""
    job_id = playground.add(now=None, limits=keys, **fields)
    playground.sql("UPDATE jobs SET run_at = now() - :ago WHERE id = :id", id=job_id, ago=timedelta(seconds=seconds))
    return job_id


def _edit(connection: Connection, job_id: UUID, *, how: str) -> None:
    in_an_hour = connection.exec_driver_sql("SELECT now() + interval '1 h'").scalar_one()
    changes = {"later": Edit(run_at=in_an_hour), "elsewhere": Edit(queue="other"), "low": Edit(priority=Priority.LOW)}
    transitions.edit(connection, job_id, changes[how])


def _lose(playground: Playground, job_id: UUID, how: str) -> None:
    if how == "expires":
        playground.sql("UPDATE jobs SET expires_at = now() - interval '1 s' WHERE id = :id", id=job_id)
    with playground.engine.begin() as connection:
        match how:
            case "cancel":
                transitions.cancel(connection, job_id)
            case "expires":
                assert transitions.expire(connection) == 1
            case "delete":
                connection.exec_driver_sql(f"DELETE FROM jobs WHERE id = '{job_id}'")
            case _:
                _edit(connection, job_id, how=how)


@pytest.mark.parametrize("how", ["cancel", "expires", "delete", "later", "elsewhere", "low"])
def test_the_next_gets_the_turn_of_one_that_goes_elsewhere(playground: Playground, how: str) -> None:
    _set(playground, "k")
    first, second, third = (_add(playground, "k", seconds=seconds) for seconds in (9, 8, 7))
    claimant = playground.worker()
    (running,) = _claim(playground, claimant)
    assert running.id == first
    playground.finish(claimant, end(running, State.SUCCESS))
    assert [playground.held_by(job_id) for job_id in (second, third)] == [None, "limit:k"]
    _lose(playground, second, how)
    assert playground.held_by(third) is None


@pytest.mark.parametrize("how", ["later", "elsewhere", "low"])
def test_one_that_was_held_back_tries_where_it_was_moved(playground: Playground, how: str) -> None:
    """Nobody else would let it go: perhaps nothing that names its key runs there."""
    _set(playground, "k")
    _add(playground, "k", seconds=9)
    held = _add(playground, "k", seconds=8)
    _claim(playground, playground.worker())
    assert playground.held_by(held) == "limit:k"
    _lose(playground, held, how)
    assert playground.held_by(held) is None


def test_the_place_of_one_that_is_put_aside_again_is_the_next_ones(playground: Playground) -> None:
    _set(playground, "a", "b")
    claimant = playground.worker()
    _add(playground, "b", seconds=90)
    (of_b,) = _claim(playground, claimant)
    both, only_b = _add(playground, "a", "b", seconds=50), _add(playground, "b", seconds=40)
    assert _claim(playground, claimant) == ()
    assert [playground.held_by(job_id) for job_id in (both, only_b)] == ["limit:b", "limit:b"]
    _add(playground, "a", seconds=95)
    _claim(playground, claimant)
    playground.finish(claimant, end(of_b, State.SUCCESS))
    assert [job.id for job in _claim(playground, claimant)] == [only_b]
    assert playground.held_by(both) == "limit:a"


def test_the_place_stays_in_the_lane_that_was_given_it(playground: Playground) -> None:
    """A job of another lane could be one that nobody claims."""
    _set(playground, "a", "b")
    claimant = playground.worker()
    _add(playground, "b", seconds=90)
    (of_b,) = _claim(playground, claimant)
    _add(playground, "a", "b", seconds=50)
    _add(playground, "b", seconds=40)
    dead = [_add(playground, "b", seconds=99, queue="a queue first in order") for _ in range(2)]
    assert _claim(playground, claimant) == _claim(playground, claimant, Lane("a queue first in order", _LANE.priority))
    assert {playground.held_by(job_id) for job_id in dead} == {"limit:b"}
    _add(playground, "a", seconds=95)
    _claim(playground, claimant)
    playground.finish(claimant, end(of_b, State.SUCCESS))
    assert len(_claim(playground, claimant)) == 1


def test_a_limit_of_a_pattern_waits_for_claims_and_others_do_not(playground: Playground) -> None:
    _add(playground, "customer:1")
    with playground.engine.begin() as claiming:
        claim_by_rules(claiming, playground.worker(), _LANE, 1)
        with playground.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            limits.set_limit(connection, Limit("another", max_running=1))
            with pytest.raises(OperationalError, match="lock timeout"):
                limits.set_limit(connection, Limit("customer:*", max_running=1))
    _set(playground, "customer:*")


def test_keys_of_limits_are_in_an_order_of_bytes_whatever_that_of_the_database(playground: Playground) -> None:
    """In an order of letters ``;`` may come before ``:``, and what is between them be empty."""
    collation = playground.value("""
        SELECT collname FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE attrelid = CAST('jobs' AS regclass) AND attname = 'held_by'
    """)
    assert collation == "C"
    _set(playground, "k", "é", "Z")
    for key in ("k", "é", "Z"):
        for seconds in (2, 1):
            _add(playground, key, seconds=seconds)
    _claim(playground, playground.worker())
    with playground.engine.begin() as connection:
        assert set(holders(connection, Block.RUNNING)) == {"k", "é", "Z"}

"""A pause, a resume or a purge, and claims at the same moment."""

from datetime import datetime

import pytest
from racing import Act, race, together

from playground import NOW, Playground
from steeple.domain.states import State
from steeple.store import queue_settings
from steeple.store.exchange import Claimant, exchange
from steeple.store.purges import count_pending, purge


def claim(claimant: Claimant, *, ahead: bool = False, now: datetime | None = NOW) -> Act:
    """Gives the ids of the claimed jobs."""
    return lambda connection: [job.id for job in exchange(connection, [], claimant, 5, now=now, ahead=ahead).jobs]


def pause() -> Act:
    return lambda connection: queue_settings.pause(connection, "a", by="me")


def resume() -> Act:
    return lambda connection: queue_settings.resume(connection, "a")


@pytest.mark.parametrize("ahead", [False, True], ids=["now", "ahead"])
def test_a_claim_does_not_wait_for_a_pause_nor_a_pause_for_a_claim(playground: Playground, ahead: bool) -> None:
    job_id = playground.add(queue="a")
    claimant = playground.worker()
    _, claimed = race(playground, pause(), claim(claimant, ahead=ahead))
    assert claimed == [job_id]  # it began before the pause was there to see
    assert playground.claim(claimant, 5) == ()
    playground.add(queue="a")
    _, claimed = race(playground, resume(), claim(claimant, ahead=ahead))
    assert claimed == []
    assert len(playground.claim(claimant, 5)) == 1


def test_a_pause_after_a_claim_leaves_its_job_running(playground: Playground) -> None:
    job_id = playground.add(queue="a")
    claimed, paused = race(playground, claim(playground.worker()), pause())
    assert claimed == [job_id]
    assert paused.is_paused
    assert playground.read(job_id).state == State.RUNNING


def test_pauses_at_once_are_one_pause(playground: Playground) -> None:
    found = together(playground, *[pause()] * 8)
    assert {each.name for each in found} == {"a"}
    assert playground.value("SELECT count(*) FROM queues WHERE paused_at IS NOT NULL") == 1


def test_after_a_pause_has_come_back_no_claim_that_begins_takes_a_job(playground: Playground) -> None:
    """Many rounds, with claims that go on all the time."""
    claimants = [playground.worker() for _ in range(4)]
    for _ in range(5):
        playground.add_many(20, queue="a")
        together(playground, pause(), *map(claim, claimants))
        left = playground.value("SELECT count(*) FROM jobs WHERE state = 'PENDING'")
        assert together(playground, *map(claim, claimants)) == [[]] * len(claimants)
        assert playground.value("SELECT count(*) FROM jobs WHERE state = 'PENDING'") == left
        playground.sql("DELETE FROM queues")
        playground.sql("DELETE FROM jobs")


def test_a_purge_and_claims_share_the_jobs_between_them(playground: Playground) -> None:
    """Each job is either cancelled or claimed, and those that the claim held while the purge went by are left."""
    playground.add_many(50, queue="a", now=None)
    claimants = [playground.worker() for _ in range(4)]
    until = playground.value("SELECT now()")
    purged, *claimed = together(
        playground,
        lambda connection: purge(connection, "a", until=until),
        *(claim(each, now=None) for each in claimants),
    )
    states = {row.state: row.jobs for row in playground.sql("SELECT state, count(*) AS jobs FROM jobs GROUP BY state")}
    assert states.get("CANCELLED", 0) == purged.jobs
    assert states.get("RUNNING", 0) == sum(map(len, claimed))
    assert sum(states.values()) == 50
    with playground.engine.begin() as connection:
        assert count_pending(connection, "a").jobs == states.get("PENDING", 0)

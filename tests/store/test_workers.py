"""Workers' rows: who lives, who is taken for dead, whose jobs have no worker any more."""

from uuid import uuid4

import pytest

from playground import NOW, Playground, claim_of
from steeple.domain.priority import Binding, Priority
from steeple.store import transitions, workers
from steeple.store.exchange import Claimant
from steeple.store.workers import Orphan, WorkerRow

DEAD_AFTER = 20.0


def live(playground: Playground) -> dict[str, WorkerRow]:
    with playground.engine.begin() as connection:
        return {row.name: row for row in workers.live_workers(connection, DEAD_AFTER)}


def bury(playground: Playground) -> tuple[str, ...]:
    with playground.engine.begin() as connection:
        return workers.bury(connection, DEAD_AFTER)


def beat(playground: Playground, claimant: Claimant, *, draining: bool = False) -> bool:
    with playground.engine.begin() as connection:
        return workers.beat(connection, claimant.worker_id, draining=draining)


def silence(playground: Playground, claimant: Claimant, seconds: float) -> None:
    playground.sql(
        "UPDATE workers SET heartbeat_at = now() - :seconds * interval '1 s' WHERE id = :id",
        seconds=seconds,
        id=claimant.worker_id,
    )


def test_a_registered_worker_lives(playground: Playground) -> None:
    binding = Binding(queues=("a", "b"), priorities=(Priority.HIGH, Priority.LOW))
    claimant = playground.worker("anna", slots=3, binding=binding)
    row = live(playground)["anna"]
    assert (row.id, row.slots, row.binding, row.draining) == (claimant.worker_id, 3, binding, False)
    assert 0 <= row.silence < DEAD_AFTER


def test_a_worker_of_every_queue_has_no_list_of_them(playground: Playground) -> None:
    playground.worker("anna")
    assert live(playground)["anna"].binding == Binding()


def test_a_silent_worker_is_not_among_the_living(playground: Playground) -> None:
    claimant = playground.worker("anna")
    silence(playground, claimant, DEAD_AFTER + 1)
    assert live(playground) == {}


def test_a_heartbeat_ends_the_silence_and_tells_of_draining(playground: Playground) -> None:
    claimant = playground.worker("anna")
    silence(playground, claimant, DEAD_AFTER + 1)
    assert beat(playground, claimant, draining=True)
    assert live(playground)["anna"].draining


def test_a_heartbeat_is_no_durable_commit(playground: Playground) -> None:
    claimant = playground.worker()
    with playground.engine.begin() as connection:
        workers.beat(connection, claimant.worker_id, draining=False)
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "off"


def test_a_worker_is_buried_once_and_only_after_its_silence(playground: Playground) -> None:
    silent, lively = playground.worker("silent"), playground.worker("lively")
    silence(playground, silent, DEAD_AFTER + 1)
    silence(playground, lively, DEAD_AFTER - 5)
    assert bury(playground) == ("silent",)
    assert bury(playground) == ()
    assert set(live(playground)) == {"lively"}


@pytest.mark.parametrize("how", ["buried", "ended"])
def test_a_worker_that_is_gone_stays_gone(playground: Playground, how: str) -> None:
    claimant = playground.worker()
    silence(playground, claimant, DEAD_AFTER + 1 if how == "buried" else 0)
    bury(playground)
    with playground.engine.begin() as connection:
        workers.end(connection, claimant.worker_id)
    assert not beat(playground, claimant)
    assert live(playground) == {}


def test_a_running_job_without_a_living_worker_is_an_orphan(playground: Playground) -> None:
    silent, stopped, gone, lively = (playground.worker(name) for name in ("silent", "stopped", "gone", "lively"))
    claims = {claimant: claim_of(playground.running(claimant)) for claimant in (silent, stopped, gone, lively)}
    silence(playground, silent, DEAD_AFTER + 5)
    bury(playground)
    with playground.engine.begin() as connection:
        workers.end(connection, stopped.worker_id)
    playground.sql("DELETE FROM workers WHERE name = 'gone'")
    with playground.engine.begin() as connection:
        found = {orphan.claim: orphan for orphan in workers.orphans(connection)}
    assert set(found) == {claims[silent], claims[stopped], claims[gone]}
    assert found[claims[gone]] == Orphan(claims[gone], None, None)
    assert [found[claims[each]].worker for each in (silent, stopped)] == ["silent", "stopped"]
    assert (found[claims[silent]].silence or 0) >= DEAD_AFTER
    assert (found[claims[stopped]].silence or 0) < DEAD_AFTER


def test_a_pending_job_is_no_orphan(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant)
    with playground.engine.begin() as connection:
        transitions.rescue(connection, [claim_of(job)], "gone", now=NOW)
        workers.end(connection, claimant.worker_id)
        assert workers.orphans(connection) == ()


def test_the_warden_is_shown_cancelled_jobs_and_those_that_run_long(playground: Playground) -> None:
    claimant = playground.worker()
    fresh, cancelled = (playground.running(claimant, now=None) for _ in range(2))
    long = playground.running(claimant, now=None)
    playground.sql("UPDATE jobs SET started_at = now() - interval '6 s' WHERE id = :id", id=long.id)
    other = playground.running(now=None)
    with playground.engine.begin() as connection:
        for job in (cancelled, other):
            transitions.cancel(connection, job.id)
        found = {
            each.claim: (each.is_cancelled, each.is_old) for each in workers.watched(connection, claimant.worker_id)
        }
    assert found == {claim_of(fresh): (False, False), claim_of(cancelled): (True, False), claim_of(long): (False, True)}


def test_what_workers_run_is_listed(playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant, task="long")
    playground.add()
    with playground.engine.begin() as connection:
        (found,) = workers.running_jobs(connection, [claimant.worker_id, uuid4()])
    assert (found.worker_id, found.id, found.task, found.started_at) == (claimant.worker_id, job.id, "long", NOW)


def test_rows_of_workers_long_gone_are_forgotten(playground: Playground) -> None:
    for name in ("old", "recent", "alive"):
        playground.worker(name)
    playground.sql("UPDATE workers SET ended_at = now() - interval '100 s' WHERE name = 'old'")
    playground.sql("UPDATE workers SET ended_at = now() - interval '80 s' WHERE name = 'recent'")
    with playground.engine.begin() as connection:
        workers.forget(connection, 90.0)
    assert [row.name for row in playground.sql("SELECT name FROM workers ORDER BY name")] == ["alive", "recent"]

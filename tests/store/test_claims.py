"""The half of the exchange that claims: who gets which jobs, and in which order."""

import threading

import pytest

from playground import NOW, Playground, at
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.retry import Retry
from steeple.domain.states import State
from steeple.store.exchange import Claimant

HIGH, DEFAULT, LOW = Priority


def test_a_claim_makes_the_job_running_with_a_new_fence(playground: Playground) -> None:
    claimant = playground.worker("anna")
    job_id = playground.add(
        task="t", args='{"a":1}', queue="q", timeout=5.0, max_attempts=4, retry=Retry(initial=7.0), now=at(-3)
    )
    (job,) = playground.claim(claimant)
    assert (job.id, job.fence, job.attempt, job.max_attempts) == (job_id, 1, 1, 4)
    assert (job.task, job.args, job.queue, job.timeout) == ("t", '{"a":1}', "q", 5.0)
    assert (job.retry, job.run_at, job.claimed_at) == (Retry(initial=7.0), at(-3), NOW)
    seen = playground.read(job_id)
    assert (seen.state, seen.worker, seen.started_at) == (State.RUNNING, "anna", NOW)


def test_jobs_go_by_priority_then_time_then_id(playground: Playground) -> None:
    low = playground.add(priority=LOW, run_at=at(-50))
    late, early = (playground.add(priority=DEFAULT, run_at=at(when)) for when in (-10, -20))
    same = playground.add_many(3, priority=HIGH, run_at=at(-1))
    claimed = playground.claim(playground.worker(), 10)
    assert [job.id for job in claimed] == [*sorted(same), early, late, low]


def test_queues_of_one_priority_go_by_their_oldest_job(playground: Playground) -> None:
    young = playground.add(queue="a", run_at=at(-1))
    old = playground.add(queue="b", run_at=at(-2))
    claimant = playground.worker()
    assert [playground.claim(claimant)[0].id for _ in range(2)] == [old, young]


def test_no_more_is_claimed_than_asked_for(playground: Playground) -> None:
    playground.add_many(5)
    claimant = playground.worker()
    assert [len(playground.claim(claimant, limit)) for limit in (0, 2, 128)] == [0, 2, 3]


def test_a_job_is_not_claimed_before_its_time(playground: Playground) -> None:
    job_id = playground.add(run_at=at(1))
    claimant = playground.worker()
    assert playground.claim(claimant, now=at(0.999)) == ()
    assert [job.id for job in playground.claim(claimant, now=at(1))] == [job_id]


def test_a_delay_counts_from_the_submit(playground: Playground) -> None:
    job_id = playground.add(delay=30.0)
    assert playground.read(job_id).run_at == at(30)


def test_an_expired_job_is_not_claimed(playground: Playground) -> None:
    playground.add(expires_at=at(5))
    claimant = playground.worker()
    assert playground.claim(claimant, now=at(5)) == ()
    assert len(playground.claim(claimant, now=at(4.9))) == 1


def test_an_expired_job_does_not_hide_the_next(playground: Playground) -> None:
    playground.add(expires_at=at(-1), run_at=at(-10))
    job_id = playground.add()
    assert [job.id for job in playground.claim(playground.worker(), 1)] == [job_id]


def test_a_job_that_starves_goes_before_a_higher_priority(playground: Playground) -> None:
    high = playground.add_many(2, priority=HIGH, run_at=at(-10))
    starving = playground.add(priority=LOW, run_at=at(-3610))
    waiting = playground.add(priority=LOW, run_at=at(-3609))
    claimed = playground.claim(playground.worker(starvation=3600.0), 10)
    assert [job.id for job in claimed] == [starving, *high, waiting]


def test_within_a_starving_lane_only_jobs_that_waited_long_enough_go_first(playground: Playground) -> None:
    high = playground.add(priority=HIGH)
    starving = [playground.add(priority=LOW, run_at=at(when)) for when in (-40, -30)]
    fresh = playground.add(priority=LOW, run_at=at(-5))
    claimed = playground.claim(playground.worker(starvation=20.0), 10)
    assert [job.id for job in claimed] == [*starving, high, fresh]


def test_nobody_starves_while_the_rivals_have_waited_as_long(playground: Playground) -> None:
    low = playground.add(priority=LOW, run_at=at(-9000))
    high = playground.add(priority=HIGH, run_at=at(-8000))
    assert [job.id for job in playground.claim(playground.worker(), 2)] == [high, low]


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        (Binding(), {"a high", "a low", "b high", "b low"}),
        (Binding(queues=("a",)), {"a high", "a low"}),
        (Binding(priorities=(HIGH,)), {"a high", "b high"}),
        (Binding(queues=("b", "c"), priorities=(LOW, DEFAULT)), {"b low"}),
    ],
)
def test_a_worker_claims_from_its_lanes_only(playground: Playground, binding: Binding, expected: set[str]) -> None:
    for queue in ("a", "b"):
        for priority in (HIGH, LOW):
            playground.add(task=f"{queue} {priority}", queue=queue, priority=priority)
    claimed = playground.claim(playground.worker(binding=binding), 10)
    assert {job.task for job in claimed} == expected


def test_a_worker_claims_the_tasks_that_it_knows(playground: Playground) -> None:
    playground.add(task="other", run_at=at(-10), priority=HIGH)
    known = playground.add(task="known")
    claimed = playground.claim(playground.worker(tasks=("known", "more")), 10)
    assert [job.id for job in claimed] == [known]


def test_a_job_that_ever_crashed_is_claimed_alone(playground: Playground) -> None:
    crashed = playground.add(run_at=at(-5))
    others = [playground.add(run_at=at(when)) for when in (-6, -4, -3)]
    playground.sql("UPDATE jobs SET crashes = 1 WHERE id = :id", id=crashed)
    claimant = playground.worker()
    claims = [[job.id for job in playground.claim(claimant, 10)] for _ in range(3)]
    assert claims == [[others[0]], [crashed], others[1:]]


def test_a_job_that_must_run_alone_is_not_claimed_ahead(playground: Playground) -> None:
    before, alone, after = (playground.add(run_at=at(seconds)) for seconds in (-3, -2, -1))
    playground.sql("UPDATE jobs SET crashes = 1 WHERE id = :id", id=alone)
    claimant = playground.worker()
    found = [playground.exchange(claimant, limit=5, ahead=ahead).jobs for ahead in (True, True, False, True)]
    assert [[job.id for job in jobs] for jobs in found] == [[before], [], [alone], [after]]


def test_a_job_at_its_last_attempt_is_claimed_alone(playground: Playground) -> None:
    """Or the death of a worker would spend that attempt on a job that only waited behind another."""
    ids = [playground.add(run_at=at(when), max_attempts=tries) for when, tries in ((-5, 3), (-4, 1), (-3, 3), (-2, 3))]
    claimant = playground.worker()
    claims = [[job.id for job in playground.claim(claimant, 10)] for _ in range(3)]
    assert claims == [[ids[0]], [ids[1]], ids[2:]]


def test_jobs_left_behind_by_a_lone_claim_are_not_locked(playground: Playground) -> None:
    crashed, other = (playground.add(run_at=at(when)) for when in (-2, -1))
    playground.sql("UPDATE jobs SET crashes = 2 WHERE id = :id", id=crashed)
    first, second = playground.worker(), playground.worker()
    assert [job.id for job in playground.claim(first, 10)] == [crashed]
    assert [job.id for job in playground.claim(second, 10)] == [other]


def test_the_best_lane_with_due_jobs_is_told(playground: Playground) -> None:
    playground.add(queue="a", priority=LOW)
    playground.add(queue="b", priority=DEFAULT)
    claimant = playground.worker()
    assert playground.exchange(claimant, limit=0).due == Lane("b", DEFAULT)
    playground.claim(claimant, 2)
    assert playground.exchange(claimant, limit=0).due is None


def test_a_worker_that_was_taken_for_dead_claims_nothing(playground: Playground) -> None:
    playground.add()
    claimant = playground.worker()
    playground.sql("UPDATE workers SET ended_at = now()")
    exchanged = playground.exchange(claimant, limit=5)
    assert (exchanged.jobs, exchanged.is_alive, exchanged.due) == ((), False, None)


@pytest.mark.parametrize("binding", [Binding(), Binding(queues=("a", "b", "c"))], ids=["every queue", "some queues"])
def test_concurrent_claimants_never_get_the_same_job(playground: Playground, binding: Binding) -> None:
    expected = {job_id for queue in "abc" for job_id in playground.add_many(100, queue=queue, now=None)}
    claimants = [playground.worker(f"w{number}", binding=binding) for number in range(4)]
    found: list[list[object]] = [[] for _ in claimants]
    barrier = threading.Barrier(len(claimants))

    def drain(claimant: Claimant, mine: list[object]) -> None:
        barrier.wait()
        empty = 0
        while empty < 3:
            jobs = playground.claim(claimant, 7, now=None)
            mine += [job.id for job in jobs]
            empty = 0 if jobs else empty + 1

    threads = [threading.Thread(target=drain, args=pair) for pair in zip(claimants, found, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed = [job_id for mine in found for job_id in mine]
    assert len(claimed) == len(expected)
    assert set(claimed) == expected

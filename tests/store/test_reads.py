"""Reading jobs and attempts."""

from dataclasses import replace

import pytest

from playground import NOW, Playground, at, end
from steeple.domain.priority import Binding
from steeple.domain.states import TERMINAL, State
from steeple.errors import JobNotFound, UniqueKeyHeld
from steeple.store import transitions
from steeple.store.reads import ended, read_attempts, read_job, read_jobs, require_job
from steeple.submission import new_id


def test_jobs_are_read_by_id_and_those_that_are_not_there_left_out(playground: Playground) -> None:
    ids = playground.add_many(3)
    with playground.engine.begin() as connection:
        found = read_jobs(connection, [*ids, new_id()])
        assert set(found) == set(ids)
        assert read_job(connection, new_id()) is None
        assert read_jobs(connection, []) == {}


def test_json_comes_as_the_text_that_was_stored(playground: Playground) -> None:
    job_id = playground.add(args='{"a":  1.10}')
    playground.sql("UPDATE jobs SET result = CAST(:text AS json), progress = CAST(:text AS json)", text='{ "b": 1e2 }')
    job = playground.read(job_id)
    assert (job.args, job.result, job.progress, job.error) == ('{"a":  1.10}', '{ "b": 1e2 }', '{ "b": 1e2 }', None)


def test_a_job_names_its_worker_until_that_is_forgotten(playground: Playground) -> None:
    job = playground.running(playground.worker("w-9"))
    assert playground.read(job.id).worker == "w-9"
    playground.sql("DELETE FROM workers")
    assert playground.read(job.id).worker is None


def test_those_that_have_ended_are_told_from_those_that_have_not(playground: Playground) -> None:
    over = {playground.ended(state).id for state in TERMINAL}
    active = [playground.running(queue="r").id, playground.add(queue="p"), new_id()]
    with playground.engine.begin() as connection:
        assert ended(connection, [*over, *active]) == over
        assert ended(connection, []) == set()


def test_attempts_are_in_the_order_in_which_they_began(playground: Playground) -> None:
    claimant = playground.worker("w")
    job = playground.running(claimant, max_attempts=5)
    bound = replace(claimant, binding=Binding(queues=("default",)))
    for turn in range(1, 4):
        playground.finish(claimant, end(job, State.PENDING, retry_in=0.0), now=at(turn))
        (job,) = playground.claim(bound, now=at(turn))
    with playground.engine.begin() as connection:
        attempts = read_attempts(connection, job.id)
        last = read_attempts(connection, job.id, limit=2)
    assert [(each.attempt, each.state) for each in attempts] == [
        (1, State.FAILED),
        (2, State.FAILED),
        (3, State.FAILED),
        (4, State.RUNNING),
    ]
    assert last == attempts[-2:]
    assert [each.fence for each in attempts] == sorted({each.fence for each in attempts})
    assert attempts[-1].fence == job.fence
    assert {each.worker for each in attempts} == {"w"}
    assert attempts[0].error is not None
    assert '"exception"' in attempts[0].error


@pytest.mark.parametrize(("state", "expected"), [(State.SUCCESS, 1), (State.FAILED, 1), (State.CANCELLED, 1)])
def test_the_last_attempt_is_shown_once(playground: Playground, state: State, expected: int) -> None:
    job = playground.ended(state, now=NOW)
    with playground.engine.begin() as connection:
        attempts = read_attempts(connection, job.id)
    assert [each.state for each in attempts] == [state] * expected


def test_no_such_job_has_neither_attempts_nor_being(playground: Playground) -> None:
    with playground.engine.begin() as connection:
        for read in (read_attempts, require_job):
            with pytest.raises(JobNotFound):
                read(connection, new_id())


def test_a_retry_names_the_job_that_has_the_unique_key_by_now(playground: Playground) -> None:
    job = playground.ended(State.FAILED, unique_key="u")
    holder = playground.add(unique_key="u")
    with playground.engine.begin() as connection:
        with pytest.raises(UniqueKeyHeld) as refused:
            transitions.retry(connection, job.id)
        assert read_job(connection, job.id) is not None  # the transaction goes on
    assert (refused.value.unique_key, refused.value.job_id) == ("u", str(holder))

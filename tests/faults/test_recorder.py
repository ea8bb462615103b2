"""The recorder: what its triggers and its journal write down, on a real database."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from checker import assert_holds, check
from fault_tasks import work
from history import Answer, Call, History
from recorder import Journal, Recorder

from playground import NOW, Playground, at, claim_of, end
from servers import libpq_url
from steeple import Context
from steeple.domain.states import Cause, State
from steeple.store import retention, transitions, workers
from steeple.store.rollup import roll_up


@pytest.fixture
def recorder(database_url: str) -> Recorder:
    found = Recorder(database_url)
    found.install()
    return found


@pytest.fixture
def recorded(database_url: str, recorder: Recorder) -> Iterator[Playground]:
    """A playground with a recorder."""
    found = Playground(database_url)
    yield found
    found.close()


@pytest.fixture
def journal() -> Journal:
    return Journal()


def causes(history: History, job_id: UUID) -> list[Cause | None]:
    return [line.cause for line in history.by_job[job_id]]


def test_every_way_from_state_to_state_is_recorded_with_its_cause(
    recorded: Playground, recorder: Recorder, journal: Journal
) -> None:
    claimant = recorded.worker()
    job = recorded.running(claimant)
    with recorded.engine.begin() as connection:
        transitions.release(connection, [claim_of(job)])
    (job,) = recorded.claim(claimant)
    recorded.finish(claimant, end(job, State.PENDING, retry_in=0.0), now=NOW)
    (job,) = recorded.claim(claimant)
    with recorded.engine.begin() as connection:
        transitions.rescue(connection, [claim_of(job)], "gone", now=NOW)
    (job,) = recorded.claim(claimant)
    recorded.finish(claimant, end(job, State.SUCCESS, result=f'{{"fence": {job.fence}}}'))
    with journal.asking(Call.RETRY, job.id) as asked, recorded.engine.begin() as connection:
        transitions.retry(connection, job.id, now=NOW)
        asked.accepted()
    with recorded.engine.begin() as connection:
        transitions.cancel(connection, job.id, now=NOW)
    history = recorder.history(journal)
    assert causes(history, job.id) == [
        Cause.SUBMIT,
        Cause.CLAIM,
        Cause.RELEASE,
        Cause.CLAIM,
        Cause.RETRY_LATER,
        Cause.CLAIM,
        Cause.RESCUE,
        Cause.CLAIM,
        Cause.FINISH,
        Cause.RETRY,
        Cause.CANCEL,
    ]
    finished = history.by_job[job.id][8].after
    assert finished is not None
    assert finished.fence_named == finished.fence == job.fence
    assert [violation for violation in check(history) if violation.rule != "times"] == []


def test_a_deletion_and_the_life_of_a_worker_are_recorded(
    recorded: Playground, recorder: Recorder, journal: Journal
) -> None:
    job = recorded.ended(State.SUCCESS)
    with recorded.engine.begin() as connection:
        roll_up(connection, now=at(3600))
        retention.prune(connection, 1.0, limit=5, now=at(3600))
        workers.end(connection, recorded.worker().worker_id)
    history = recorder.history(journal)
    assert history.by_job[job.id][-1].after is None
    assert job.id not in history.at_end()
    assert [line.ended for line in history.workers] == [False, False, True]


def test_what_is_rolled_back_leaves_no_line(recorded: Playground, recorder: Recorder, journal: Journal) -> None:
    job_id = recorded.add()
    with recorded.engine.connect() as connection:
        transitions.cancel(connection, job_id, now=NOW)
        connection.rollback()
    assert causes(recorder.history(journal), job_id) == [Cause.SUBMIT]


def test_a_change_behind_the_products_back_is_seen(recorded: Playground, recorder: Recorder, journal: Journal) -> None:
    job_id = recorded.add()
    with psycopg.connect(libpq_url(recorded.url), autocommit=True) as connection:
        connection.execute("UPDATE jobs SET state = 'SUCCESS'")
    with pytest.raises(AssertionError, match=f"table of states: job {job_id}"):
        assert_holds(recorder.history(journal))


def test_a_call_without_an_answer_has_an_unknown_outcome(journal: Journal) -> None:
    with pytest.raises(TimeoutError), journal.asking(Call.SUBMIT):
        raise TimeoutError
    for status in (202, 409, 503):
        with journal.asking(Call.SUBMIT) as asked:
            asked.replied(status)
    answers = [reply.answer for reply in journal.history().replies]
    assert answers == [Answer.UNKNOWN, Answer.ACCEPTED, Answer.REFUSED, Answer.UNKNOWN]


def test_the_lines_of_a_task_become_one_effect(
    recorded: Playground, recorder: Recorder, journal: Journal, tmp_path: Path
) -> None:
    claimant = recorded.worker()
    job = recorded.running(claimant)
    path = tmp_path / "effects"
    assert work(effects=str(path), context=Context.testing(job_id=job.id)) == {"fence": 1}
    (effect,) = recorder.history(journal, path).effects
    (_, claim) = recorder.history(journal).by_job[job.id]
    assert (effect.job_id, effect.attempt, effect.fence) == (job.id, 1, 1)
    assert effect.ended_at is not None
    assert claim.at <= effect.began_at <= effect.ended_at

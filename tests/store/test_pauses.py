"""A paused queue: no claim takes a job of it, whatever was seen before; what runs goes on; nothing is passed over."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from playground import NOW, Playground, at, claim_of, end
from steeple.domain.job import ClaimedJob
from steeple.domain.priority import Binding, Lane, Priority
from steeple.domain.states import State
from steeple.store import queue_settings, transitions
from steeple.store.exchange import Claimant, Exchanged, exchange
from steeple.store.lanes import Work, find_work
from steeple.store.queue_settings import QueueChange, QueueSettings

T = TypeVar("T")

LONG_AGO = NOW - timedelta(minutes=10)
BINDINGS = [Binding(), Binding(queues=("a", "b"))]


def act(playground: Playground, work: Callable[..., T], *words: Any, **more: Any) -> T:
    with playground.engine.begin() as connection:
        return work(connection, *words, **more)


def pause(playground: Playground, name: str = "a", note: str | None = None, by: str = "me") -> QueueSettings:
    return act(playground, queue_settings.pause, name, by=by, note=note)


def resume(playground: Playground, name: str = "a") -> dict[Lane, int]:
    return act(playground, queue_settings.resume, name)


def claim(
    playground: Playground, claimant: Claimant, marks: str | None = None, *, limit: int = 1, seconds: float = 0.0
) -> Exchanged:
    return act(playground, exchange, [], claimant, limit, marks=marks, now=at(seconds))


def ids(exchanged: Exchanged) -> list[UUID]:
    return [job.id for job in exchanged.jobs]


@pytest.mark.parametrize("binding", BINDINGS, ids=["every queue", "by name"])
@pytest.mark.parametrize("ahead", [False, True], ids=["now", "ahead"])
def test_no_claim_takes_a_job_of_a_paused_queue(playground: Playground, binding: Binding, ahead: bool) -> None:
    playground.add_many(2, queue="a", priority=Priority.HIGH)
    other = playground.add(queue="b", priority=Priority.LOW)
    pause(playground)
    claimant = playground.worker(binding=binding)
    exchanged = playground.exchange(claimant, limit=5, ahead=ahead)
    assert ids(exchanged) == [other]
    assert exchanged.due == Lane("b", Priority.LOW)
    assert playground.exchange(claimant, limit=5, ahead=ahead).due is None
    resume(playground)
    assert len(playground.exchange(claimant, limit=5, ahead=ahead).jobs) == 2


def test_starving_jobs_of_a_paused_queue_are_not_taken_either(playground: Playground) -> None:
    playground.add(queue="a", priority=Priority.LOW, run_at=NOW - timedelta(days=1))
    pause(playground)
    assert playground.claim(playground.worker(starvation=1.0), limit=5) == ()


@pytest.mark.parametrize("binding", BINDINGS, ids=["every queue", "by name"])
def test_marks_of_before_the_pause_do_not_let_a_job_be_taken(playground: Playground, binding: Binding) -> None:
    playground.add(queue="a", run_at=LONG_AGO)
    claimant = playground.worker(binding=binding)
    marks = claim(playground, claimant).marks
    playground.add(queue="a", run_at=NOW)
    pause(playground)
    assert ids(claim(playground, claimant, marks, limit=5)) == []


def test_marks_of_during_the_pause_pass_over_nothing(playground: Playground) -> None:
    """Those that were passed on from claim to claim while the queue was paused, and those of a look meanwhile."""
    waiting = [playground.add(queue="a", run_at=LONG_AGO + timedelta(seconds=number)) for number in range(3)]
    claimant = playground.worker()
    exchanged = claim(playground, claimant)
    assert ids(exchanged) == waiting[:1]
    pause(playground)
    passed_on = claim(playground, claimant, exchanged.marks, limit=5, seconds=100).marks
    looked = claim(playground, claimant, limit=5, seconds=100).marks
    resume(playground)
    assert ids(claim(playground, claimant, passed_on, limit=1, seconds=101)) == [waiting[1]]
    assert ids(claim(playground, claimant, looked, limit=1, seconds=101)) == [waiting[2]]


def test_what_runs_goes_on_and_is_finished(playground: Playground) -> None:
    claimant = playground.worker()
    done, later = (playground.running(claimant, queue="a", now=at(number)) for number in (0, 1))
    pause(playground)
    assert playground.finish(claimant, end(done, State.SUCCESS), end(later, State.PENDING)) == ()
    assert [playground.read(job.id).state for job in (done, later)] == [State.SUCCESS, State.PENDING]
    assert playground.claim(claimant, now=at(100)) == ()


def test_a_rescued_or_released_job_of_a_paused_queue_waits(playground: Playground) -> None:
    claimant = playground.worker()
    rescued, released = (playground.running(claimant, queue="a", now=at(number)) for number in (0, 1))
    pause(playground)
    act(playground, transitions.rescue, [claim_of(rescued)], "gone")
    act(playground, transitions.release, [claim_of(released)])
    assert playground.claim(claimant, limit=5, now=at(100)) == ()
    resume(playground)
    assert {job.id for job in playground.claim(claimant, limit=1, now=at(100))} <= {rescued.id, released.id}


def test_a_paused_queue_is_no_work_to_wake_for(playground: Playground) -> None:
    playground.add(queue="a")
    playground.add(queue="a", run_at=at(5))
    playground.add(queue="b", run_at=at(9))
    pause(playground)
    assert act(playground, find_work, now=NOW) == Work({}, 9.0)
    resume(playground)
    assert act(playground, find_work, now=NOW) == Work({Lane("a", Priority.DEFAULT): 1}, 5.0)


def test_a_resume_tells_which_lanes_have_due_jobs(playground: Playground) -> None:
    playground.add_many(2, queue="a", priority=Priority.HIGH, now=None)
    playground.add(queue="a", priority=Priority.LOW, now=None)
    playground.add(queue="a", delay=1000.0, now=None)
    playground.add(queue="b", now=None)
    pause(playground)
    assert resume(playground) == {Lane("a", Priority.HIGH): 2, Lane("a", Priority.LOW): 1}


def test_who_paused_when_and_why_is_kept_until_the_resume(playground: Playground) -> None:
    first = pause(playground, note="the archive moves", by="one")
    assert (first.is_paused, first.paused_by, first.pause_note) == (True, "one", "the archive moves")
    again = pause(playground, by="two")
    assert (again.paused_at, again.paused_by, again.pause_note) == (first.paused_at, "two", "the archive moves")
    assert pause(playground, note="it still does").pause_note == "it still does"
    resume(playground)
    assert act(playground, queue_settings.read_settings, "a") == QueueSettings("a")


def test_a_queue_is_drained_when_it_is_paused_and_nothing_of_it_runs(
    playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_settings, "SETTLED_SECONDS", 0.0)
    claimant = playground.worker()
    job = playground.running(claimant, queue="a")
    assert not pause(playground).is_drained
    playground.running(claimant, queue="b")
    playground.finish(claimant, end(job, State.SUCCESS))
    assert act(playground, queue_settings.all_settings)["a"].is_drained
    resume(playground)
    assert not act(playground, queue_settings.read_settings, "a").is_drained


def test_a_queue_is_not_drained_before_claims_that_were_under_way_have_ended(playground: Playground) -> None:
    assert not pause(playground).is_drained
    playground.sql("UPDATE queues SET paused_at = paused_at - interval '2 s'")
    assert act(playground, queue_settings.read_settings, "a").is_drained


def test_only_what_is_named_is_changed(playground: Playground) -> None:
    def change(**values: Any) -> QueueSettings:
        return act(playground, queue_settings.change, "a", QueueChange(frozenset(values), **values))

    assert change(default_priority=Priority.HIGH) == QueueSettings("a", default_priority=Priority.HIGH)
    assert change(retention=60.0) == QueueSettings("a", default_priority=Priority.HIGH, retention=60.0)
    assert change(default_priority=None) == QueueSettings("a", retention=60.0)
    assert change() == QueueSettings("a", retention=60.0)
    assert act(playground, queue_settings.default_priorities) == {}
    assert pause(playground).retention == 60.0


_QUEUES = st.sampled_from("ab")
_STEPS = st.one_of(
    st.tuples(st.just("submit"), _QUEUES),
    st.tuples(st.just("pause"), _QUEUES),
    st.tuples(st.just("resume"), _QUEUES),
    st.tuples(st.just("claim"), st.integers(1, 3)),
    st.tuples(st.just("go on"), st.integers(1, 3)),
    st.tuples(st.just("give back"), st.none()),
)


@given(steps=st.lists(_STEPS, min_size=5, max_size=30))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_paused_and_resumed_claims_are_those_of_a_simple_model(
    playground: Playground, steps: list[tuple[str, Any]]
) -> None:
    """The model: jobs per queue, and the names of the paused. Of the other queues a claim takes that with the oldest
    job first, and its marks are never past a job that is left."""
    model = _Model(playground)
    for number, (step, word) in enumerate(steps):
        model.take(step, word, 10.0 * number)
    model.take("resume", "a", 1000.0)
    model.take("resume", "b", 1000.0)
    model.take("claim", 100, 1001.0)
    assert not any(model.pending.values())


class _Model:
    """Each begins with an empty database."""

    def __init__(self, playground: Playground) -> None:
        self._playground = playground
        for table in ("jobs", "queues", "workers"):
            playground.sql(f"DELETE FROM {table}")
        self._claimant = replace(playground.worker(), starvation=1e9)
        self._marks: str | None = None
        self._running: list[ClaimedJob] = []
        self.pending: dict[str, list[UUID]] = {"a": [], "b": []}
        self._since: dict[UUID, float] = {}
        self._paused: set[str] = set()

    def take(self, step: str, word: Any, seconds: float) -> None:
        match step:
            case "submit":
                job_id = self._playground.add(queue=word, now=at(seconds), max_attempts=100)
                self.pending[word].append(job_id)
                self._since[job_id] = seconds
            case "pause":
                pause(self._playground, word)
                self._paused.add(word)
            case "resume":
                resume(self._playground, word)
                self._paused.discard(word)
            case "claim":
                self._claim(None, word, seconds)
            case "go on":
                self._claim(self._marks, word, seconds)
            case "give back" if self._running:
                job = self._running.pop()
                self._playground.finish(self._claimant, end(job, State.PENDING, retry_in=0.0), now=at(seconds))
                self.pending[job.queue].append(job.id)
                self._since[job.id] = seconds

    def _claim(self, marks: str | None, limit: int, seconds: float) -> None:
        queues = [queue for queue, jobs in self.pending.items() if jobs and queue not in self._paused]
        queues.sort(key=lambda queue: self._since[self.pending[queue][0]])
        open_jobs = [each for queue in queues for each in self.pending[queue]]
        exchanged = claim(self._playground, self._claimant, marks, limit=limit, seconds=seconds)
        taken = ids(exchanged)
        assert set(taken) <= set(open_jobs)
        if marks is None:
            assert set(taken) == set(open_jobs[:limit])
        for job in exchanged.jobs:
            self.pending[job.queue].remove(job.id)
            self._running.append(job)
        self._marks = exchanged.marks
        self._check_marks()

    def _check_marks(self) -> None:
        for mark in json.loads(self._marks or "[]"):
            passed_over = self._playground.value(
                "SELECT count(*) FROM jobs WHERE state = 'PENDING' AND queue = :queue AND priority = :priority"
                " AND run_at < CAST(:since AS timestamptz)",
                **mark,
            )
            assert passed_over == 0, mark

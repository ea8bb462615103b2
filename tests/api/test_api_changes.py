"""Cancelling, running once more, and changing jobs."""

from typing import Any

import pytest
from running_api import NOBODY, Api, kind, pointers

from playground import Playground
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import TERMINAL, State

Woken = list[dict[Lane, int]]


@pytest.fixture
def woken(api: Api, monkeypatch: pytest.MonkeyPatch) -> Woken:
    found: Woken = []
    monkeypatch.setattr(api.services.wakes, "wake", found.append)
    return found


def post(api: Api, job_id: object, action: str) -> Any:
    return api.http.post(f"/v1/jobs/{job_id}/{action}")


def test_a_pending_job_is_cancelled_at_once(api: Api, playground: Playground) -> None:
    job_id = playground.add(now=None)
    reply = post(api, job_id, "cancel")
    assert reply.status_code == 202
    assert (reply.json()["state"], reply.json()["finished_at"] is None) == ("CANCELLED", False)
    assert api.job(job_id) == reply.json()


def test_a_running_job_is_asked_to_stop_and_may_be_asked_again(api: Api, playground: Playground) -> None:
    job = playground.running(now=None)
    reply = post(api, job.id, "cancel")
    assert reply.status_code == 202
    assert (reply.json()["state"], reply.json()["cancel_requested_at"] is None) == ("RUNNING", False)
    again = post(api, job.id, "cancel")
    assert again.json()["cancel_requested_at"] == reply.json()["cancel_requested_at"]


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_job_that_has_ended_cannot_be_cancelled(api: Api, playground: Playground, state: State) -> None:
    job = playground.ended(state, now=None)
    reply = post(api, job.id, "cancel")
    assert kind(reply) == (409, "state-conflict")
    assert (reply.json()["job_id"], reply.json()["state"]) == (str(job.id), state.value)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_job_that_has_ended_runs_once_more(api: Api, playground: Playground, woken: Woken, state: State) -> None:
    job = playground.ended(state, now=None)
    reply = post(api, job.id, "retry")
    assert reply.status_code == 202
    shown = reply.json()
    assert (shown["state"], shown["attempt"], shown["error"], shown["result"]) == ("PENDING", 0, None, None)
    assert woken == [{Lane("default", Priority.DEFAULT): 1}]


def test_a_job_that_has_not_ended_cannot_run_once_more(api: Api, playground: Playground, woken: Woken) -> None:
    for job_id in (playground.running(now=None).id, playground.add(queue="p", now=None)):
        assert kind(post(api, job_id, "retry")) == (409, "state-conflict")
    assert not woken


def test_a_retry_is_refused_while_another_job_has_the_unique_key(api: Api, playground: Playground) -> None:
    job = playground.ended(State.FAILED, now=None, unique_key="u")
    holder = api.submit(unique_key="u").json()["id"]
    reply = post(api, job.id, "retry")
    assert kind(reply) == (409, "unique-key-held")
    assert reply.json()["job_id"] == holder
    assert playground.read(job.id).state is State.FAILED


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"priority": "high"}, {}),
        ({"queue": "other"}, {}),
        ({"run_at": "2031-01-01T01:00:00+01:00"}, {"run_at": "2031-01-01T00:00:00Z"}),
        ({"max_attempts": 7}, {}),
        ({"priority": "low", "queue": "q", "max_attempts": 1}, {}),
        ({}, {}),
    ],
)
def test_a_pending_job_is_changed(api: Api, change: dict[str, Any], shown: dict[str, Any]) -> None:
    before = api.submit(delay=60).json()
    reply = api.http.patch(f"/v1/jobs/{before['id']}", json=change)
    assert reply.status_code == 200
    assert reply.json() == before | change | shown
    assert api.job(before["id"]) == reply.json()


def test_a_change_that_makes_a_job_due_wakes_its_new_lane(api: Api, woken: Woken) -> None:
    path = api.submit(delay=60).headers["Location"]
    api.http.patch(path, json={"priority": "high"})
    assert not woken
    api.http.patch(path, json={"run_at": "2020-01-01T00:00:00Z", "queue": "q"})
    assert woken == [{Lane("q", Priority.HIGH): 1}]


def test_a_job_that_is_not_pending_cannot_be_changed(api: Api, playground: Playground) -> None:
    for job in (playground.ended(State.SUCCESS, now=None), playground.running(now=None, queue="r")):
        reply = api.http.patch(f"/v1/jobs/{job.id}", json={"priority": "high"})
        assert kind(reply) == (409, "state-conflict")


def test_attempts_cannot_be_fewer_than_were_made(api: Api, playground: Playground) -> None:
    job_id = playground.add()
    playground.sql("UPDATE jobs SET attempt = 2 WHERE id = :id", id=job_id)
    reply = api.http.patch(f"/v1/jobs/{job_id}", json={"max_attempts": 2})
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply) == ["/max_attempts"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"colour": 1}', "/colour"),
        ('{"task": "add"}', "/task"),
        ('{"priority": 1}', "/priority"),
        ('{"max_attempts": "3"}', "/max_attempts"),
        ('{"queue": "\\u0000"}', "/queue"),
        ('{"queue": "a", "queue": "b"}', "/queue"),
        ('{"run_at": "tomorrow"}', "/run_at"),
        ("[]", ""),
    ],
)
def test_changes_of_the_wrong_kind_are_422(api: Api, body: str, pointer: str) -> None:
    path = api.submit(delay=60).headers["Location"]
    reply = api.http.patch(path, content=body, headers={"Content-Type": "application/json"})
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply) == [pointer]


@pytest.mark.parametrize("job_id", [NOBODY, "x"])
def test_no_such_job_cannot_be_changed(api: Api, job_id: str) -> None:
    for reply in (
        post(api, job_id, "cancel"),
        post(api, job_id, "retry"),
        api.http.patch(f"/v1/jobs/{job_id}", json={"priority": "high"}),
    ):
        assert kind(reply) == (404, "job-not-found")

"""Submitting a job over HTTP: what is stored, and what comes back."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from running_api import Api, make_app, running

from playground import Playground
from steeple import Settings
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State

EVERY_MEMBER = {
    "id",
    "task",
    "args",
    "state",
    "queue",
    "priority",
    "tags",
    "unique_key",
    "unique_states",
    "unique_until",
    "run_at",
    "expires_at",
    "timeout",
    "attempt",
    "max_attempts",
    "crashes",
    "created_at",
    "started_at",
    "finished_at",
    "worker",
    "progress",
    "result",
    "error",
    "cancel_requested_at",
    "stop",
    "schedule_id",
    "limits",
    "fair_key",
    "after",
    "on_parent_failure",
    "flow_id",
}


def test_a_submit_is_accepted_stored_and_told_where_it_is(api: Api, playground: Playground) -> None:
    reply = api.submit("add", {"a": 1, "b": 2})
    assert reply.status_code == 202
    job = reply.json()
    assert reply.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert set(job) == EVERY_MEMBER
    assert (job["state"], job["attempt"], job["args"], job["result"]) == ("PENDING", 0, {"a": 1, "b": 2}, None)
    assert api.job(job["id"]) == job
    assert playground.read(UUID(job["id"])).state is State.PENDING


def test_what_is_left_out_the_task_decides(api: Api) -> None:
    job = api.submit("echo", {"value": None}).json()
    assert (job["queue"], job["priority"], job["timeout"], job["max_attempts"]) == ("echoes", "low", 7.5, 3)
    assert job["run_at"] == job["created_at"]


def test_options_are_stored_as_they_are_given(api: Api) -> None:
    given: dict[str, Any] = {
        "queue": "reports",
        "priority": "high",
        "run_at": "2030-01-01T01:00:00+01:00",
        "expires_at": "2030-01-02T00:00:00Z",
        "timeout": 12.25,
        "max_attempts": 9,
        "unique_key": "u:é",
        "tags": ["x", 'q"\\,{}', "x"],
    }
    job = api.submit("add", **given).json()
    shown = given | {"run_at": "2030-01-01T00:00:00Z", "tags": ["x", 'q"\\,{}']}
    assert {name: job[name] for name in given} == shown
    assert api.job(job["id"]) == job


@pytest.mark.parametrize("options", [{}, {"delay": 1.5, "tags": ["a", "ü"], "unique_key": '"', "timeout": 1e-7}])
def test_what_a_submit_answers_is_what_is_shown_byte_for_byte(api: Api, options: dict[str, Any]) -> None:
    reply = api.submit("echo", {"value": {"x": [1, None, "é"]}}, **options)
    assert reply.content == api.http.get(reply.headers["Location"]).content


def test_null_is_as_good_as_left_out(api: Api) -> None:
    reply = api.submit("add", queue=None, run_at=None, delay=None, unique_key=None, max_attempts=None)
    assert reply.status_code == 202
    assert reply.json()["queue"] == "default"


def test_a_delay_counts_from_the_databases_now(api: Api) -> None:
    job = api.submit("add", delay=90.5).json()
    created, run_at = (datetime.fromisoformat(job[name]) for name in ("created_at", "run_at"))
    assert run_at - created == timedelta(seconds=90.5)


def test_numbers_stay_as_they_were_sent(api: Api, playground: Playground) -> None:
    args = '{ "value": [1.50, 1E5, 0.1234567890123456789012, 123456789012345678901234567890, -0.0, 1e-7] }'
    reply = api.post(f'{{"task": "echo", "args": {args}}}')
    assert reply.status_code == 202
    assert args in reply.text
    assert playground.read(UUID(reply.json()["id"])).args == args
    assert args in api.http.get(reply.headers["Location"]).text


def test_text_of_any_script_comes_back_as_it_was(api: Api) -> None:
    value = 'Grüße 你好 🚀 "\\/\b\f\n\r\t \x7f   '
    for body in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        reply = api.post(f'{{"task": "echo", "args": {{"value": {body}}}}}'.encode())
        assert reply.json()["args"]["value"] == value
        assert api.job(reply.json()["id"])["args"]["value"] == value


def test_results_and_errors_come_out_number_for_number(api: Api, playground: Playground) -> None:
    job = playground.ended(State.SUCCESS, now=None)
    result = '{"n": 1.10, "big": 99999999999999999999999, "text": "\\u00e9"}'
    playground.sql("UPDATE jobs SET result = CAST(:result AS json) WHERE id = :id", result=result, id=job.id)
    assert f'"result":{result}' in api.http.get(f"/v1/jobs/{job.id}").text


def test_times_are_utc_whatever_the_zone_that_was_given(api: Api) -> None:
    job = api.submit("add", run_at="2030-06-30T23:30:00.25-05:30").json()
    assert job["run_at"] == "2030-07-01T05:00:00.250000Z"
    assert datetime.fromisoformat(job["created_at"]).tzinfo == UTC
    assert job["created_at"].endswith("Z")


def test_arguments_as_large_as_the_limit_are_taken(api: Api) -> None:
    limit = api.services.settings.max_args_bytes
    value = "x" * (limit - len('{"value":""}'))
    assert api.post(f'{{"task":"echo","args":{{"value":"{value}"}}}}').status_code == 202
    reply = api.post(f'{{"task":"echo","args":{{"value":"{value}x"}}}}')
    assert reply.status_code == 413
    assert reply.json()["errors"][0]["pointer"] == "/args"


def test_only_jobs_that_are_due_wake_their_lane(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[dict[Lane, int]] = []
    monkeypatch.setattr(api.services.inbox, "_wake", woken.append)
    api.submit("add", delay=60)
    api.submit("add", run_at="2040-01-01T00:00:00Z")
    assert not woken
    api.submit("add", priority="high")
    api.submit("add", run_at="2020-01-01T00:00:00Z", queue="past")
    assert woken == [{Lane("default", Priority.HIGH): 1}, {Lane("past", Priority.DEFAULT): 1}]


def test_a_slot_is_called_before_the_job_is_stored_that_is_due_at_once(
    api: Api, playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected: list[tuple[Lane, object]] = []

    def expect(lane: Lane) -> None:
        expected.append((lane, playground.value("SELECT count(*) FROM jobs WHERE queue = :queue", queue=lane.queue)))

    monkeypatch.setattr(api.services.wakes, "expect", expect)
    assert api.submit("add", {"a": "no number"}, queue="soon").status_code == 422
    api.submit("add", delay=60, queue="soon")
    api.submit("add", run_at="2020-01-01T00:00:00Z", queue="soon")
    playground.sql("DELETE FROM jobs")
    api.submit("add", priority="high", queue="soon")
    assert expected == [(Lane("soon", Priority.HIGH), 0)]


def test_an_api_without_an_app_takes_jobs_for_registered_tasks(
    shared_database_url: str, playground: Playground
) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None)
    with running(settings) as api:
        assert api.submit("add").json()["type"] == "/problems/unknown-task"
        with running(settings, make_app(settings)):
            pass  # it has registered its tasks by now
        assert api.submit("echo", {"value": [1]}).json()["queue"] == "echoes"
        refused = api.submit("add", {"a": "one"})
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-arguments")
        assert {fault["pointer"] for fault in refused.json()["errors"]} == {"/args/a", "/args/b"}


def test_a_changed_registration_is_heeded_within_a_second(shared_database_url: str, playground: Playground) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None)
    with running(settings, make_app(settings)):
        pass
    with running(settings) as api:
        assert api.submit("echo", {"value": 1}).json()["priority"] == "low"
        playground.sql("UPDATE tasks SET priority = 0 WHERE name = 'echo'")
        while api.submit("echo", {"value": 1}).json()["priority"] != "high":
            pass

"""Queues over HTTP: pause and resume, drain, purge, settings; and what a submit makes of them."""

from typing import Any

import pytest
import redis
from running_api import Api, kind, make_app, pointers, running

from playground import Playground
from steeple import Settings
from steeple.domain.states import State
from steeple.embedded.processes import wait_until
from steeple.embedded.valkey import EmbeddedValkey
from steeple.store.keys import Scope, create_key


def queue(api: Api, name: str = "q") -> dict[str, Any]:
    reply = api.http.get(f"/v1/queues/{name}")
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def settled(document: dict[str, Any]) -> dict[str, Any]:
    """Without what becomes true a second later by itself."""
    return document | {"drained": None}


def test_a_pause_shows_who_when_and_why_until_the_resume(api: Api, playground: Playground) -> None:
    playground.add(queue="q", delay=1000.0, now=None)
    reply = api.http.post("/v1/queues/q/pause", json={"note": "the archive moves"})
    assert reply.status_code == 200
    paused = reply.json()
    assert (paused["paused"], paused["paused_by"], paused["pause_note"]) == (True, "anonymous", "the archive moves")
    assert paused["paused_at"].endswith("Z")
    listed = api.http.get("/v1/queues").json()["queues"][-1]
    assert settled(paused) == settled(queue(api)) == settled(listed)
    resumed = api.http.post("/v1/queues/q/resume")
    assert resumed.status_code == 200
    assert [resumed.json()[name] for name in ("paused", "paused_at", "paused_by", "pause_note")] == [False] + [None] * 3


def test_a_pause_needs_no_body_and_no_job(api: Api) -> None:
    assert api.http.post("/v1/queues/q/pause").json()["paused"]
    assert queue(api)["counts"]["PENDING"] == 0


def test_a_pause_names_the_key_that_it_came_with(shared_database_url: str, playground: Playground) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None)
    with playground.engine.begin() as connection:
        key = create_key(connection, "operations", [Scope.ADMIN]).key
    with running(settings, make_app(settings)) as api:
        reply = api.http.post("/v1/queues/q/pause", headers={"Authorization": f"Bearer {key}"})
    assert reply.json()["paused_by"] == "operations"


def test_a_paused_queue_takes_submits_and_gives_no_jobs(api: Api, playground: Playground) -> None:
    api.http.post("/v1/queues/q/pause")
    assert api.submit(queue="q").status_code == 202
    assert playground.claim(playground.worker(), now=None) == ()
    api.http.post("/v1/queues/q/resume")
    assert len(playground.claim(playground.worker(), now=None)) == 1


def test_a_drain_is_over_when_nothing_of_the_queue_runs(api: Api, playground: Playground) -> None:
    job = playground.running(queue="q", now=None)
    drained = api.http.post("/v1/queues/q/drain", json={"note": "for the move"}).json()
    assert (drained["paused"], drained["drained"], drained["pause_note"]) == (True, False, "for the move")
    playground.sql("UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = :id", id=job.id)
    assert wait_until(lambda: queue(api)["drained"], 30)


def test_a_purge_counts_first_and_then_cancels(api: Api, playground: Playground) -> None:
    pending = playground.add_many(3, queue="q", now=None)
    running_one = playground.running(queue="r", now=None)
    other = playground.add(queue="other", now=None)
    dry = api.http.post("/v1/queues/q/purge", json={"dry_run": True})
    assert dry.json() == {"dry_run": True, "count": 3, "remaining": 3}
    assert {playground.read(each).state for each in pending} == {State.PENDING}
    assert api.http.post("/v1/queues/q/purge", json={}).json() == {"dry_run": False, "count": 3, "remaining": 0}
    assert {playground.read(each).state for each in pending} == {State.CANCELLED}
    assert [playground.read(each).state for each in (running_one.id, other)] == [State.RUNNING, State.PENDING]


def test_a_purge_that_takes_long_says_what_is_left(
    api: Api, playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steeple.api.queue_changes._LONGEST_PURGE_SECONDS", 0.0)
    playground.add_many(2, queue="q", now=None)
    assert api.http.post("/v1/queues/q/purge").json() == {"dry_run": False, "count": 0, "remaining": 2}


def test_a_purge_of_many_jobs_goes_batch_by_batch(
    api: Api, playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steeple.store.purges.purge.__kwdefaults__", {"after": None, "limit": 7})
    playground.add_many(50, queue="q", now=None)
    assert api.http.post("/v1/queues/q/purge").json()["count"] == 50


def test_what_is_set_stays_until_null_takes_it_away(api: Api) -> None:
    def change(**members: Any) -> tuple[Any, Any]:
        reply = api.http.patch("/v1/queues/q", json=members)
        assert reply.status_code == 200, reply.text
        return reply.json()["default_priority"], reply.json()["retention"]

    assert change(default_priority="low") == ("low", None)
    assert change(retention=60) == ("low", 60.0)
    assert change() == ("low", 60.0)
    assert change(default_priority=None) == (None, 60.0)
    assert change(retention=None) == (None, None)


def test_a_limit_of_a_queue_is_set_and_taken_away(api: Api) -> None:
    def change(**members: Any) -> tuple[Any, Any]:
        reply = api.http.patch("/v1/queues/q", json=members)
        assert reply.status_code == 200, reply.text
        return reply.json()["max_running"], reply.json()["rate"]

    rate = {"count": 10, "period": 60.0, "burst": None}
    assert change(max_running=3) == (3, None)
    assert change(rate={"count": 10, "period": 60}) == (3, rate)
    assert change(retention=60) == (3, rate)
    assert change(max_running=None) == (None, rate)
    assert change(rate=None) == (None, None)


def test_a_queue_says_which_priority_its_jobs_have_if_nobody_else_does(api: Api) -> None:
    for name in ("q", "echoes"):
        api.http.patch(f"/v1/queues/{name}", json={"default_priority": "high"})
    assert wait_until(lambda: api.submit(queue="q").json()["priority"] == "high", 10)
    assert api.submit(queue="q", priority="default").json()["priority"] == "default"
    assert api.submit().json()["priority"] == "default"
    assert api.submit("echo", {"value": 1}).json()["priority"] == "low"  # its task says so
    job = {"task": "add", "args": {"a": 1, "b": 2}, "queue": "q"}
    (item,) = api.http.post("/v1/jobs/batch", json={"jobs": [job]}).json()["jobs"]
    assert api.job(item["id"])["priority"] == "high"


def test_a_queue_that_nothing_is_known_of_is_not_there(api: Api) -> None:
    assert kind(api.http.get("/v1/queues/nowhere")) == (404, "queue-not-found")


@pytest.mark.parametrize("call", ["pause", "resume", "drain", "purge", ""])
@pytest.mark.parametrize("name", ["-q", "a%20b", "x" * 101, "%C3%A4"])
def test_what_cannot_be_the_name_of_a_queue_is_not_there(api: Api, call: str, name: str) -> None:
    if call:
        reply = api.http.post(f"/v1/queues/{name}/{call}", json={})
    else:
        reply = api.http.patch(f"/v1/queues/{name}", json={})
    assert kind(reply) == (404, "queue-not-found")


@pytest.mark.parametrize(
    ("call", "body", "pointer"),
    [
        ("pause", {"note": 7}, "/note"),
        ("pause", {"note": ""}, "/note"),
        ("pause", {"note": "x" * 1001}, "/note"),
        ("pause", {"note": "\x00"}, "/note"),
        ("pause", {"why": "x"}, "/why"),
        ("pause", [], ""),
        ("resume", {"note": "x"}, "/note"),
        ("purge", {"dry_run": "yes"}, "/dry_run"),
        ("purge", {"state": "PENDING"}, "/state"),
    ],
    ids=str,
)
def test_a_body_that_is_not_right_is_refused(api: Api, call: str, body: Any, pointer: str) -> None:
    reply = api.http.post(f"/v1/queues/q/{call}", json=body)
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply) == [pointer]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"max_running": -1}, "/max_running"),
        ({"rate": {"count": 1}}, "/rate/period"),
        ({"retention": -1}, "/retention"),
        ({"retention": 1e12}, "/retention"),
        ({"default_priority": "urgent"}, "/default_priority"),
        ({"colour": 1}, "/colour"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused(
    api: Api, playground: Playground, body: dict[str, Any], pointer: str
) -> None:
    reply = api.http.patch("/v1/queues/q", json=body)
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply) == [pointer]
    assert playground.value("SELECT count(*) FROM queues") == 0


def test_a_resume_wakes_the_lanes_that_have_due_jobs(
    shared_database_url: str, broker_url: str, valkey: EmbeddedValkey, playground: Playground
) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=broker_url)
    playground.worker(slots=2)
    playground.add(queue="q", now=None)
    playground.sql("UPDATE jobs SET priority = 0")
    with running(settings, make_app(settings)) as api:
        api.http.post("/v1/queues/q/pause")
        api.http.post("/v1/queues/q/resume")
    number = int(broker_url.rpartition("=")[2])
    with redis.Redis(unix_socket_path=str(valkey.socket_path), db=number) as broker:
        assert broker.llen("steeple.*.high") == 1

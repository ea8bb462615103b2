"""Idempotency keys: a request that is repeated makes one job."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from running_api import Api, kind, make_app, running

from playground import Playground
from steeple import Settings
from steeple.store.keys import Scope, create_key

BODY = '{"task": "echo", "args": {"value": 1.50}}'


def submit(api: Api, key: str, body: str = BODY, **headers: str) -> httpx2.Response:
    return api.post(body, **{"Idempotency-Key": key}, **headers)


def count(playground: Playground) -> int:
    return int(playground.value("SELECT count(*) FROM jobs"))


def test_a_repeated_request_gives_the_same_job_as_it_is_now(api: Api, playground: Playground) -> None:
    first = submit(api, "k")
    assert (first.status_code, "Idempotent-Replayed" in first.headers) == (202, False)
    job_id = first.json()["id"]
    api.http.post(f"/v1/jobs/{job_id}/cancel")
    again = submit(api, "k")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert (again.json()["id"], again.json()["state"]) == (job_id, "CANCELLED")
    assert again.headers["Location"] == first.headers["Location"]
    assert count(playground) == 1


@pytest.mark.parametrize(
    "body",
    [
        '{"args":{"value":1.50},"task":"echo"}',
        '\n{ "task" : "ech\\u006f",\t"args": {"value": 1.5} }\n',
    ],
)
def test_space_order_and_spelling_make_no_other_request(api: Api, body: str) -> None:
    assert submit(api, "k").json()["id"] == submit(api, "k", body).json()["id"]


@pytest.mark.parametrize(
    "body",
    [
        '{"task": "echo", "args": {"value": 1.51}}',
        '{"task": "echo", "args": {"value": 1.50}, "priority": "high"}',
        '{"task": "anything", "args": {"value": 1.50}}',
    ],
)
def test_another_request_under_the_same_key_is_refused(api: Api, playground: Playground, body: str) -> None:
    job_id = submit(api, "k").json()["id"]
    reply = submit(api, "k", body)
    assert kind(reply) == (422, "idempotency-key-reused")
    assert reply.json()["job_id"] == job_id
    assert count(playground) == 1


def test_50_requests_at_once_make_one_job(api: Api, playground: Playground) -> None:
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: submit(api, "k"), range(50)))
    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert [("Idempotent-Replayed" in reply.headers) for reply in replies].count(False) == 1
    assert count(playground) == 1


def test_50_requests_at_once_for_one_unique_key_make_one_job(api: Api, playground: Playground) -> None:
    body = json.dumps({"task": "echo", "args": {"value": 1}, "unique_key": "u"})
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: api.post(body), range(50)))
    accepted = [reply for reply in replies if reply.status_code == 202]
    assert len(accepted) == 1
    job_id = accepted[0].json()["id"]
    refused = [reply for reply in replies if reply.status_code != 202]
    assert {kind(reply) for reply in refused} == {(409, "unique-key-held")}
    assert {reply.json()["job_id"] for reply in refused} == {job_id}
    assert all(job_id in reply.json()["detail"] for reply in refused)
    assert count(playground) == 1


def test_a_repeat_is_recognised_before_its_own_unique_key_stands_in_the_way(api: Api) -> None:
    body = json.dumps({"task": "echo", "args": {"value": 1}, "unique_key": "u"})
    first = submit(api, "k", body)
    again = submit(api, "k", body)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])


def test_a_unique_key_is_free_again_when_its_job_has_ended(api: Api) -> None:
    first = api.submit(unique_key="u").json()["id"]
    assert api.submit(unique_key="u").status_code == 409
    api.http.post(f"/v1/jobs/{first}/cancel")
    assert api.submit(unique_key="u").status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
def test_keys_of_the_wrong_kind_are_422(api: Api, playground: Playground, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1"), b"Content-Type": b"application/json"}
    reply = api.http.post("/v1/jobs", content=BODY, headers=list(headers.items()))
    assert kind(reply) == (422, "invalid-request")
    assert reply.json()["errors"][0] | {"detail": ""} == {"pointer": "/Idempotency-Key", "detail": "", "in": "header"}
    assert count(playground) == 0


def test_the_longest_key_is_taken(api: Api) -> None:
    assert submit(api, "~" * 255).status_code == 202


def test_each_api_key_has_idempotency_keys_of_its_own(shared_database_url: str, playground: Playground) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None)
    with playground.engine.begin() as connection:
        ours, theirs = (create_key(connection, name, [Scope.WRITE]) for name in ("ours", "theirs"))
    with running(settings, make_app(settings)) as api:
        first, again, other = (
            submit(api, "k", Authorization=f"Bearer {key.key}").json()["id"] for key in (ours, ours, theirs)
        )
    assert first == again != other

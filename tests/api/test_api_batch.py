"""Many jobs in one request: in order, and all or none unless asked otherwise."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from running_api import Api, kind, pointers

from playground import Playground

RIGHT = {"task": "add", "args": {"a": 1, "b": 2}}
WRONG = {"task": "add", "args": {"a": "x", "b": 2}}


def submit(api: Api, *jobs: Any, partial: bool = False, key: str | None = None) -> httpx2.Response:
    query = "?partial=true" if partial else ""
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.post(json.dumps({"jobs": jobs}), f"/v1/jobs/batch{query}", **headers)


def count(playground: Playground) -> int:
    return int(playground.value("SELECT count(*) FROM jobs"))


def test_10_000_jobs_are_stored_in_their_order(api: Api, playground: Playground) -> None:
    reply = submit(api, *({"task": "echo", "args": {"value": number}} for number in range(10_000)))
    assert reply.status_code == 202
    items = reply.json()["jobs"]
    assert all(set(item) == {"id"} for item in items)
    stored = playground.sql("SELECT CAST(id AS text), CAST(args ->> 'value' AS integer) AS value FROM jobs")
    values = {row.id: row.value for row in stored}
    assert [values[item["id"]] for item in items] == list(range(10_000))


def test_10_001_jobs_are_refused(api: Api, playground: Playground) -> None:
    reply = submit(api, *([RIGHT] * 10_001))
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply) == ["/jobs"]
    assert count(playground) == 0


def test_no_jobs_are_no_work(api: Api) -> None:
    assert submit(api).json() == {"jobs": []}


def test_one_wrong_job_refuses_all(api: Api, playground: Playground) -> None:
    reply = submit(api, RIGHT, WRONG, RIGHT, {"task": "nope", "args": {}})
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply) == ["/jobs/1/args/a", "/jobs/3/task"]
    assert count(playground) == 0


def test_faults_of_one_kind_keep_it(api: Api) -> None:
    assert kind(submit(api, RIGHT, WRONG, WRONG)) == (422, "invalid-arguments")


def test_partial_takes_those_that_are_right(api: Api, playground: Playground) -> None:
    wrong = [{"task": "nope", "args": {}}, 7, {"task": "add"}, RIGHT | {"colour": 1}, RIGHT | {"tags": ["\x00"]}]
    jobs = [RIGHT, *wrong, RIGHT]
    reply = submit(api, *jobs, partial=True)
    assert reply.status_code == 202
    first, *refused, last = reply.json()["jobs"]
    assert set(first) == set(last) == {"id"}
    assert [[fault["pointer"] for fault in item["error"]["errors"]] for item in refused] == [
        ["/jobs/1/task"],
        ["/jobs/2"],
        ["/jobs/3/args"],
        ["/jobs/4/colour"],
        ["/jobs/5/tags/0"],
    ]
    assert {item["error"]["status"] for item in refused} == {422}
    assert count(playground) == 2


def test_what_is_not_json_is_refused_as_a_whole_even_if_partial(api: Api, playground: Playground) -> None:
    body = '{"jobs": [{"task": "echo", "args": {"value": 1}}, {"task": "echo", "args": {"value": NaN}}]}'
    reply = api.post(body, "/v1/jobs/batch?partial=true")
    assert kind(reply) == (400, "not-json")
    assert pointers(reply) == ["/jobs/1/args/value"]
    assert count(playground) == 0


@pytest.mark.parametrize("partial", [False, True])
def test_a_unique_key_that_is_held_refuses_its_job(api: Api, playground: Playground, partial: bool) -> None:
    holder = api.submit("add", unique_key="u").json()["id"]
    reply = submit(api, RIGHT, RIGHT | {"unique_key": "u"}, partial=partial)
    if partial:
        error = reply.json()["jobs"][1]["error"]
        assert (error["status"], error["job_id"]) == (409, holder)
        assert count(playground) == 2
    else:
        assert kind(reply) == (409, "unique-key-held")
        assert pointers(reply) == ["/jobs/1/unique_key"]
        assert holder in reply.json()["detail"]
        assert count(playground) == 1


def test_of_two_jobs_with_one_unique_key_the_second_is_refused(api: Api, playground: Playground) -> None:
    twice = RIGHT | {"unique_key": "u"}
    reply = submit(api, twice, twice, partial=True)
    first, second = reply.json()["jobs"]
    assert second["error"]["job_id"] == first["id"]
    assert kind(submit(api, RIGHT | {"unique_key": "v"}, RIGHT | {"unique_key": "v"})) == (409, "unique-key-held")
    assert count(playground) == 1


def test_numbers_stay_as_they_were_sent_in_a_batch(api: Api) -> None:
    args = '{"value":  [1.50, 123456789012345678901234567890]}'
    reply = api.post(f'{{"jobs": [ {{"args": {args}, "task": "echo"}} ]}}', "/v1/jobs/batch")
    assert args in api.http.get(f"/v1/jobs/{reply.json()['jobs'][0]['id']}").text


def test_arguments_over_the_limit_refuse_their_job(api: Api) -> None:
    large = {"task": "echo", "args": {"value": "x" * api.services.settings.max_args_bytes}}
    reply = submit(api, RIGHT, large)
    assert kind(reply) == (413, "too-large")
    assert pointers(reply) == ["/jobs/1/args"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ("{}", "/jobs"),
        ('{"jobs": {}}', "/jobs"),
        ('{"jobs": null}', "/jobs"),
        ('{"jobs": [], "more": 1}', "/more"),
        ('{"jobs": [], "jobs": []}', "/jobs"),
        ("[]", ""),
    ],
)
def test_other_shapes_are_refused(api: Api, body: str, pointer: str) -> None:
    reply = api.post(body, "/v1/jobs/batch")
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply) == [pointer]


def test_a_batch_is_repeated_under_its_idempotency_key(api: Api, playground: Playground) -> None:
    first = submit(api, RIGHT, RIGHT, key="k")
    again = submit(api, RIGHT, RIGHT, key="k")
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert kind(submit(api, RIGHT, key="k")) == (422, "idempotency-key-reused")
    assert count(playground) == 2


def test_other_requests_are_answered_while_a_large_batch_is_taken_in(api: Api) -> None:
    body = json.dumps({"jobs": [{"task": "echo", "args": {"value": "x" * 500}}] * 10_000})
    with httpx2.Client(base_url=api.url, timeout=30) as other, ThreadPoolExecutor() as pool:
        other.get("/livez")
        batch = pool.submit(api.post, body, "/v1/jobs/batch")
        pings = 0
        while not batch.done():
            assert other.get("/livez").status_code == 200
            pings += 1
    assert batch.result().status_code == 202
    assert pings > 3

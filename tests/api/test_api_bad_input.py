"""Input that is refused: with a 4xx that names the place, and nothing stored."""

import json
from time import monotonic
from typing import Any

import pytest
from running_api import JSON, NOBODY, Api, kind, pointers

from playground import Playground

DEEP = 100_000

NOT_JSON = {
    "nothing": "",
    "space": " \n",
    "half an object": '{"task": "add"',
    "something after it": '{"task": "add", "args": {}} x',
    "single quotes": "{'task': 'add'}",
    "a comma too many": '{"task": "add",}',
    "a comment": '{"task": "add" /* */}',
    "a control character": '{"task": "a\x01dd"}',
    "a raw NUL": '{"task": "a\x00dd"}',
    "a byte order mark": '\ufeff{"task": "add"}',
    "a leading zero": '{"task": "add", "args": {"a": 01}}',
    "NaN": '{"task": "echo", "args": {"value": NaN}}',
    "infinity": '{"task": "echo", "args": {"value": [-Infinity]}}',
    "an unfinished escape": '{"task": "add\\u00"}',
    "a million brackets, unclosed and with commas": "[1," * 333_333 + "]",
}

BAD_BYTES = {
    "latin-1": b'{"task": "\xe9"}',
    "half a character": b'{"task": "\xe2\x82"}',
    "utf-16": '{"a":1}'.encode("utf-16"),
}

UNACCEPTABLE: dict[str, tuple[str, str]] = {
    "a NUL": ('{"task": "echo", "args": {"value": "a\\u0000b"}}', "/args/value"),
    "a NUL in a name": ('{"task": "anything", "args": {"a\\u0000": 1}}', "/args/a\ufffd"),
    "a NUL in a tag": ('{"task": "add", "args": {"a": 1, "b": 2}, "tags": ["ok", "\\u0000"]}', "/tags/1"),
    "a NUL in the task": ('{"task": "\\u0000", "args": {}}', "/task"),
    "half a surrogate pair": ('{"task": "echo", "args": {"value": ["\\ud83d"]}}', "/args/value/0"),
    "a pair the wrong way round": ('{"task": "echo", "args": {"value": "\\ude00\\ud83d"}}', "/args/value"),
    "a number past the type": ('{"task": "echo", "args": {"value": {"x": 1e400}}}', "/args/value/x"),
    "a number past the type, negative": ('{"task": "echo", "args": {"value": -1E999}}', "/args/value"),
    "5,000 digits": ('{"task": "echo", "args": {"value": %s}}' % ("7" * 5000), "/args/value"),
    "5,000 decimals": ('{"task": "echo", "args": {"value": 0.%s}}' % ("7" * 5000), "/args/value"),
    "a timeout past the type": ('{"task": "add", "args": {}, "timeout": 1e400}', "/timeout"),
    "a name given twice": ('{"task": "echo", "task": "add", "args": {}}', "/task"),
    "a name given twice, deep down": (
        '{"task": "echo", "args": {"value": [{"x/y": 1, "x/y": 2}]}}',
        "/args/value/0/x~1y",
    ),
    "the same name in two spellings": ('{"task": "echo", "args": {"value": {"a": 1, "\\u0061": 2}}}', "/args/value/a"),
    "65 levels": ('{"task": "echo", "args": {"value": %s}}' % ("[" * 63 + "]" * 63), "/args/value" + "/0" * 62),
    "an unknown field": ('{"task": "add", "args": {"a": 1, "b": 2}, "colour": "red"}', "/colour"),
    "an unknown task": ('{"task": "nope", "args": {}}', "/task"),
    "an unknown argument": ('{"task": "add", "args": {"a": 1, "b": 2, "c": 3}}', "/args/c"),
    "an argument of the wrong type": ('{"task": "add", "args": {"a": [1], "b": 2}}', "/args/a"),
    "a missing argument": ('{"task": "add", "args": {"a": 1}}', "/args/b"),
    "an argument that is no date": ('{"task": "when", "args": {"day": "2026-02-30"}}', "/args/day"),
    "no task": ('{"args": {}}', "/task"),
    "no arguments": ('{"task": "add"}', "/args"),
    "a list": ("[]", ""),
    "a number": ("1", ""),
    "null": ("null", ""),
}

WRONG_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "task as a number": ({"task": 7}, "/task"),
    "args as a list": ({"args": []}, "/args"),
    "args as null": ({"args": None}, "/args"),
    "queue of strange characters": ({"queue": "a b"}, "/queue"),
    "queue with a line end": ({"queue": "a\n"}, "/queue"),
    "queue that is too long": ({"queue": "q" * 101}, "/queue"),
    "queue as a number": ({"queue": 1}, "/queue"),
    "priority that is none": ({"priority": "urgent"}, "/priority"),
    "priority in capitals": ({"priority": "HIGH"}, "/priority"),
    "priority as a number": ({"priority": 0}, "/priority"),
    "run_at without a zone": ({"run_at": "2030-01-01T00:00:00"}, "/run_at"),
    "run_at as a number": ({"run_at": 1700000000}, "/run_at"),
    "run_at as a number in text": ({"run_at": "1700000000"}, "/run_at"),
    "run_at that does not exist": ({"run_at": "2030-02-30T00:00:00Z"}, "/run_at"),
    "run_at before the year 1": ({"run_at": "0001-01-01T00:00:00+01:00"}, "/run_at"),
    "run_at after the year 9999": ({"run_at": "9999-12-31T23:59:59-01:00"}, "/run_at"),
    "expires_at as true": ({"expires_at": True}, "/expires_at"),
    "delay below zero": ({"delay": -1}, "/delay"),
    "delay of centuries": ({"delay": 1e10}, "/delay"),
    "delay as text": ({"delay": "5"}, "/delay"),
    "timeout of zero": ({"timeout": 0}, "/timeout"),
    "timeout as text": ({"timeout": "60"}, "/timeout"),
    "timeout as true": ({"timeout": True}, "/timeout"),
    "timeout as a huge whole number": ({"timeout": 10**400}, "/timeout"),
    "max_attempts of zero": ({"max_attempts": 0}, "/max_attempts"),
    "max_attempts over 1000": ({"max_attempts": 1001}, "/max_attempts"),
    "max_attempts as a huge number": ({"max_attempts": 10**300}, "/max_attempts"),
    "max_attempts as a fraction": ({"max_attempts": 2.5}, "/max_attempts"),
    "max_attempts as text": ({"max_attempts": "3"}, "/max_attempts"),
    "unique_key without a character": ({"unique_key": ""}, "/unique_key"),
    "unique_key that is too long": ({"unique_key": "k" * 256}, "/unique_key"),
    "tags as text": ({"tags": "nightly"}, "/tags"),
    "a tag as a number": ({"tags": ["a", 1]}, "/tags/1"),
    "a tag without a character": ({"tags": [""]}, "/tags/0"),
    "too many tags": ({"tags": [str(number) for number in range(33)]}, "/tags"),
    "run_at and delay": ({"run_at": "2030-01-01T00:00:00Z", "delay": 1}, ""),
    "retry, which is for Python": ({"retry": {}}, "/retry"),
    "id": ({"id": NOBODY}, "/id"),
    "state": ({"state": "SUCCESS"}, "/state"),
}


def count(playground: Playground) -> int:
    return int(playground.value("SELECT count(*) FROM jobs"))


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_not_json_is_400(api: Api, playground: Playground, body: str) -> None:
    reply = api.post(body.encode())
    assert kind(reply) in {(400, "not-json"), (422, "invalid-request")}
    assert reply.status_code == 400 or "unclosed" in next(name for name, text in NOT_JSON.items() if text is body)
    assert count(playground) == 0


@pytest.mark.parametrize("body", BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_what_is_not_utf8_is_400(api: Api, body: bytes) -> None:
    reply = api.post(body)
    assert kind(reply) == (400, "not-json")
    assert "UTF-8" in reply.json()["detail"]


def test_a_nan_is_named_by_its_place(api: Api) -> None:
    assert pointers(api.post('{"task": "echo", "args": {"value": [1, NaN]}}')) == ["/args/value/1"]


@pytest.mark.parametrize(("body", "pointer"), UNACCEPTABLE.values(), ids=UNACCEPTABLE.keys())
def test_what_cannot_be_kept_is_422_and_named_by_its_place(
    api: Api, playground: Playground, body: str, pointer: str
) -> None:
    reply = api.post(body)
    assert kind(reply)[0] == 422
    assert pointer in pointers(reply)
    assert count(playground) == 0


@pytest.mark.parametrize(("options", "pointer"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS.keys())
def test_options_of_the_wrong_kind_are_422(
    api: Api, playground: Playground, options: dict[str, Any], pointer: str
) -> None:
    reply = api.post(json.dumps({"task": "add", "args": {"a": 1, "b": 2}} | options))
    assert kind(reply)[0] == 422
    assert pointers(reply) == [pointer]
    assert count(playground) == 0


@pytest.mark.parametrize(
    "nested", ["[" * DEEP + "]" * DEEP, '{"x":' * DEEP + "1" + "}" * DEEP, "[" * DEEP, '[{"x":' * DEEP]
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/batch"])
def test_100_000_levels_are_a_clean_refusal(api: Api, path: str, nested: str) -> None:
    reply = api.post(f'{{"task": "echo", "args": {{"value": {nested}}}}}', path)
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply)[0].startswith("/args/value/")
    assert api.submit("add").status_code == 202


def test_64_levels_are_taken(api: Api) -> None:
    assert api.post('{"task": "echo", "args": {"value": %s}}' % ("[" * 62 + "]" * 62)).status_code == 202


ONES = ",".join(["1"] * 300_000)
SAME_NAMES = ",".join(['"same": 1'] * 100_000)
MANY_NAMES = ",".join(f'"k{number}": 1' for number in range(100_000))


@pytest.mark.parametrize(
    "body",
    [
        f'{{"task": "add", "args": {{}}, {MANY_NAMES}}}',
        f'{{"task": "add", "args": {{}}, "tags": [{ONES}]}}',
        f'{{"task": "add", "args": {{{SAME_NAMES}}}}}',
        f'{{"jobs": [], {MANY_NAMES}}}',
    ],
    ids=["unknown fields", "wrong tags", "the same name", "unknown fields beside jobs"],
)
def test_a_request_that_is_wrong_a_hundred_thousand_times_is_refused_soon(api: Api, body: str) -> None:
    began = monotonic()
    reply = api.post(body, "/v1/jobs/batch" if "jobs" in body else "/v1/jobs")
    assert kind(reply)[0] == 422
    assert len(reply.json()["errors"]) <= 100
    assert monotonic() - began < 5


def test_all_faults_are_named_at_once(api: Api) -> None:
    reply = api.submit("add", queue="a b", timeout=-1, colour="red")
    assert set(pointers(reply)) == {"/queue", "/timeout", "/colour"}


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "", "json", "application/json+x"]
)
def test_other_media_types_are_415(api: Api, media_type: str) -> None:
    reply = api.http.post("/v1/jobs", content='{"task": "add", "args": {}}', headers={"Content-Type": media_type})
    assert kind(reply) == (415, "unsupported-media-type")
    assert reply.json()["errors"][0]["in"] == "header"


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;"])
def test_json_by_any_of_its_names_is_taken(api: Api, media_type: str) -> None:
    body = json.dumps({"task": "add", "args": {"a": 1, "b": 2}})
    assert api.http.post("/v1/jobs", content=body, headers={"Content-Type": media_type}).status_code == 202


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/batch"])
@pytest.mark.parametrize("is_streamed", [False, True], ids=["with its length", "in chunks"])
def test_a_body_over_the_limit_is_413(api: Api, playground: Playground, path: str, is_streamed: bool) -> None:
    limit = api.services.settings.max_body_bytes
    part = b" " * 65536
    parts = (part for _ in range(limit // len(part) + 2))
    content = parts if is_streamed else b" " * (limit + 1)
    reply = api.http.post(path, content=content, headers=JSON)
    assert kind(reply) == (413, "too-large")
    assert api.submit("add").status_code == 202
    assert count(playground) == 1


def test_a_body_as_large_as_the_limit_is_read(api: Api) -> None:
    limit = api.services.settings.max_body_bytes
    body = b'{"task": "add", "args": {"a": 1, "b": 2}}'
    assert api.post(body + b" " * (limit - len(body))).status_code == 202


@pytest.mark.parametrize(
    "job_id", ["x", "1", "%00", "a%00b", "..%2f", "{" + NOBODY + "}", NOBODY.replace("-", ""), "é", "9" * 2000]
)
@pytest.mark.parametrize("rest", ["", "/attempts", "/logs"])
def test_what_is_no_id_names_no_job(api: Api, job_id: str, rest: str) -> None:
    assert kind(api.http.get(f"/v1/jobs/{job_id}{rest}"))[0] == 404


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1.5",
        f"limit={'9' * 5000}",
        "state=DONE",
        "state=pending",
        "priority=0",
        "task=%00",
        "q=%00",
        "q=" + "x" * 300,
        "tag=%00",
        "created_after=yesterday",
        "created_after=2026-01-01",
        "created_before=1700000000",
        "created_before=0001-01-01T00:00:00%2B14:00",
        "created_after=9999-12-31T23:59:59-14:00",
        "cursor=",
        "cursor=x",
        "cursor=%00",
        "cursor=AAAA",
        "cursor=" + "A" * 23,
        "cursor=" + "A" * 3000,
        "cursor=%F0%9F%9A%80",
        "colour=red",
        "limit[]=1",
        "wait=1",
    ],
)
def test_query_parameters_of_the_wrong_kind_are_422(api: Api, query: str) -> None:
    reply = api.http.get(f"/v1/jobs?{query}")
    assert kind(reply) == (422, "invalid-request")
    assert {fault["in"] for fault in reply.json()["errors"]} == {"query"}


@pytest.mark.parametrize("query", ["wait=-1", "wait=x", "wait=nan", "wait=inf", "wait=", "wait=1&x=1"])
def test_waits_of_the_wrong_kind_are_422(api: Api, query: str) -> None:
    assert kind(api.http.get(f"/v1/jobs/{NOBODY}?{query}")) == (422, "invalid-request")


@pytest.mark.parametrize("query", ["after=-1", f"after={2**63}", "after=x", "limit=0"])
def test_places_in_a_log_of_the_wrong_kind_are_422(api: Api, playground: Playground, query: str) -> None:
    assert kind(api.http.get(f"/v1/jobs/{playground.add()}/logs?{query}")) == (422, "invalid-request")


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/queues", "/v1/workers", f"/v1/jobs/{NOBODY}/attempts"])
def test_unknown_query_parameters_are_422(api: Api, path: str) -> None:
    assert pointers(api.http.get(f"{path}?a%2Fb=1")) == ["/a~1b"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Prefer": "wait"},
        {"Prefer": "wait=x"},
        {"Prefer": "wait=-1"},
        {"Prefer": "\xff=\xfe, wait=\xff"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \xff\xff"},
        {"Authorization": "Basic eDp5"},
        {"X-Request-ID": "a b\xff"},
        {"If-None-Match": '\xff, W/, "'},
    ],
)
def test_odd_headers_do_no_harm(api: Api, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert api.http.get(f"/v1/jobs/{NOBODY}", headers=raw).status_code in {400, 404}

"""The edges of the API: what is sent beside the point is refused where it stands, in words that say what to do."""

import gzip
import json
from typing import Any

import pytest
from running_api import JSON, Api, kind, pointers

from playground import Playground
from steeple.api.wording import plain
from steeple.domain.states import State

RIGHT = {"task": "add", "args": {"a": 1, "b": 2}}


@pytest.fixture(params=["cancel", "retry"])
def action(request: pytest.FixtureRequest, playground: Playground) -> str:
    """The path of an action that the job of this path is ready for."""
    if request.param == "cancel":
        return f"/v1/jobs/{playground.add(now=None)}/cancel"
    return f"/v1/jobs/{playground.ended(State.FAILED, now=None).id}/retry"


@pytest.mark.parametrize("body", ["", "{}", " { } \n"])
def test_cancel_and_retry_take_no_body_or_an_empty_object(api: Api, action: str, body: str) -> None:
    headers = JSON if body else {"Content-Type": "application/x-www-form-urlencoded"}
    assert api.http.post(action, content=body, headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ('{"reason": "late"}', 422, ["/reason"]),
        ('{"force": true, "a/b": 1}', 422, ["/force", "/a~1b"]),
        ('{"a": 1, "a": 1}', 422, ["/a"]),
        ("[]", 422, [""]),
        ("null", 422, [""]),
        ("{", 400, None),
        ('{"a": NaN}', 422, ["/a"]),
        ("[NaN]", 400, ["/0"]),
    ],
)
def test_anything_else_is_refused_and_nothing_done(
    api: Api, playground: Playground, action: str, body: str, status: int, expected: list[str] | None
) -> None:
    before = playground.sql("SELECT state, fence FROM jobs")
    reply = api.http.post(action, content=body, headers=JSON)
    assert kind(reply)[0] == status
    assert expected is None or pointers(reply) == expected
    assert playground.sql("SELECT state, fence FROM jobs") == before


def test_a_body_of_another_type_is_refused_there_too(api: Api, action: str) -> None:
    assert kind(api.http.post(action, content="why=late")) == (415, "unsupported-media-type")
    assert kind(api.http.post(action, content=b"x" * (17 << 20), headers=JSON)) == (413, "too-large")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x-compress", ""])
def test_a_body_that_is_encoded_is_415(api: Api, playground: Playground, encoding: str) -> None:
    content = gzip.compress(json.dumps(RIGHT).encode())
    calls = [("POST", "/v1/jobs"), ("POST", "/v1/jobs/batch"), ("PATCH", f"/v1/jobs/{playground.add(now=None)}")]
    for method, path in calls:
        reply = api.http.request(method, path, content=content, headers=JSON | {"Content-Encoding": encoding})
        assert kind(reply) == (415, "unsupported-media-type")
        assert reply.json()["errors"][0]["pointer"] == "/Content-Encoding"
        assert reply.headers["Accept-Encoding"] == "identity"


def test_a_body_that_is_encoded_as_itself_is_taken(api: Api) -> None:
    assert api.post(json.dumps(RIGHT), **{"Content-Encoding": "Identity"}).status_code == 202


@pytest.mark.parametrize("name", ["priority", "queue", "run_at", "max_attempts"])
def test_a_change_to_null_is_422_and_says_to_leave_it_out(api: Api, name: str) -> None:
    before = api.submit(delay=60).json()
    reply = api.http.patch(f"/v1/jobs/{before['id']}", json={"max_attempts": 9, name: None})
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply) == [f"/{name}"]
    assert "leave it out" in reply.json()["detail"]
    assert api.job(before["id"]) == before


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/jobs?limit=1&limit=2", "limit"),
        ("/v1/jobs?q=a&q=a", "q"),
        ("/v1/jobs?cursor=&cursor=", "cursor"),
        ("/v1/jobs?created_after=2026-11-24T00:00:00Z&created_after=2026-11-24T00:00:00Z", "created_after"),
        ("/v1/jobs/{job_id}?wait=0&wait=1", "wait"),
        ("/v1/jobs/{job_id}/logs?after=1&limit=1&after=2", "after"),
        ("/v1/jobs/{job_id}/logs?after=1&%61fter=2", "after"),
    ],
)
def test_a_parameter_of_one_value_that_is_repeated_is_422(
    api: Api, playground: Playground, path: str, name: str
) -> None:
    reply = api.http.get(path.format(job_id=playground.add(now=None)))
    assert kind(reply) == (422, "invalid-request")
    assert reply.json()["errors"] == [{"pointer": f"/{name}", "detail": "is given more than once", "in": "query"}]


def test_a_switch_that_is_repeated_stores_nothing(api: Api, playground: Playground) -> None:
    reply = api.post(json.dumps({"jobs": [RIGHT]}), "/v1/jobs/batch?partial=true&partial=false")
    assert kind(reply) == (422, "invalid-request")
    assert playground.value("SELECT count(*) FROM jobs") == 0


def test_filters_may_be_repeated(api: Api, playground: Playground) -> None:
    query = "&".join(f"{name}={value}" for name in ("task", "queue", "tag") for value in ("a", "b"))
    query += "&state=PENDING&state=FAILED&priority=high&priority=low&limit=5"
    assert api.http.get(f"/v1/jobs?{query}").status_code == 200


@pytest.mark.parametrize("preference", ["wait=x", "wait", "wait=-1", "wait=", "return=minimal", "respond-async"])
def test_a_preference_that_cannot_be_read_is_ignored(api: Api, preference: str) -> None:
    reply = api.post(json.dumps(RIGHT), Prefer=preference)
    assert reply.status_code == 202
    assert "Preference-Applied" not in reply.headers


def batch(api: Api, *keys: str | None, partial: bool = False, **headers: str) -> Any:
    jobs = [RIGHT if key is None else RIGHT | {"unique_key": key} for key in keys]
    return api.post(json.dumps({"jobs": jobs}), f"/v1/jobs/batch{'?partial=true' if partial else ''}", **headers)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}], ids=["", "under an idempotency key"])
def test_of_many_jobs_with_one_unique_key_the_first_is_stored_and_named(
    api: Api, playground: Playground, headers: dict[str, str]
) -> None:
    """So many that the database may well have sorted them in another order."""
    items = batch(api, *(["u", None] * 300), partial=True, **headers).json()["jobs"]
    stored = {str(row.id) for row in playground.sql("SELECT id FROM jobs")}
    assert items[0]["id"] in stored
    assert {item["error"]["job_id"] for item in items[2::2]} == {items[0]["id"]}
    assert len(stored) == 301


def test_no_job_is_named_that_was_not_stored(api: Api, playground: Playground) -> None:
    reply = batch(api, None, "u", None, "u")
    assert kind(reply) == (409, "unique-key-held")
    assert pointers(reply) == ["/jobs/3/unique_key"]
    assert "is also that of job 1 in this request" in reply.json()["errors"][0]["detail"]
    assert playground.value("SELECT count(*) FROM jobs") == 0


def test_a_job_that_holds_the_key_is_named_to_a_whole_batch(api: Api) -> None:
    holder = api.submit("add", unique_key="u").json()["id"]
    reply = batch(api, "u", "u")
    assert pointers(reply) == ["/jobs/0/unique_key", "/jobs/1/unique_key"]
    assert all(holder in fault["detail"] for fault in reply.json()["errors"])


QUEUE_NAME = "must be 1 to 100 letters, digits and . _ : -, a letter or digit first"
PLAIN = {
    '{"task": "add"}': "is missing, and needed",
    '{"task": "add", "args": {"a": 1}}': "is missing, and needed",
    '{"task": "add", "args": {"a": 1, "b": 2, "c": 3}}': "is not known here: leave it out",
    '{"task": "add", "args": {"a": "x", "b": 2}}': "must be a whole number",
    '{"task": "add", "args": {}, "colour": 1}': "is not known here: leave it out",
    '{"task": 7, "args": {}}': "must be a string",
    '{"task": "add", "args": []}': "must be an object",
    '{"task": "add", "args": {}, "priority": "urgent"}': "must be 'high', 'default' or 'low'",
    '{"task": "add", "args": {}, "unique_key": ""}': "must have at least 1 character",
    '{"task": "add", "args": {}, "max_attempts": 0}': "must be 1 or more",
    '{"task": "add", "args": {}, "max_attempts": 2000}': "must be 1000 or less",
    '{"task": "add", "args": {}, "timeout": 0}': "must be more than 0",
    '{"task": "add", "args": {}, "tags": "x"}': "must be a list",
    '{"task": "add", "args": {}, "queue": "a b"}': QUEUE_NAME,
    '{"task": "add", "args": {}, "delay": 1, "run_at": "2030-01-01T00:00:00Z"}': "give run_at or delay, not both",
    '{"task": "when", "args": {"day": "x"}}': "must be a date, such as 2026-11-24",
}


@pytest.mark.parametrize(("body", "detail"), PLAIN.items())
def test_faults_are_told_in_plain_words(api: Api, body: str, detail: str) -> None:
    found = api.post(body).json()
    assert found["errors"][0]["detail"] == detail
    assert detail in found["detail"]


def test_faults_of_a_query_are_told_in_plain_words(api: Api) -> None:
    reply = api.http.get("/v1/jobs?limit=0&created_after=yesterday&state=DONE&colour=red")
    details = {fault["pointer"]: fault["detail"] for fault in reply.json()["errors"]}
    assert details["/limit"] == "must be 1 or more"
    assert details["/created_after"].startswith("is no RFC 3339 time")
    assert details["/state/0"].startswith("must be 'PENDING'")
    assert details["/colour"] == "is not known here: leave it out"


def test_lists_of_the_wrong_length_are_told_in_plain_words() -> None:
    assert plain("List should have at least 1 item after validation, not 0") == "must have at least 1 item"
    assert plain("List should have at most 32 items after validation, not more than 32") == "must have at most 32 items"
    assert plain("what nobody has thought of") == "what nobody has thought of"

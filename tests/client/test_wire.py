"""Building requests and reading replies, without a network."""

import contextlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steeple.client import wire, wire_queues
from steeple.client.errors import (
    ApiError,
    ClientError,
    Conflict,
    Forbidden,
    InvalidRequest,
    JobNotFound,
    Problem,
    RateLimited,
    TransportError,
    Unauthorized,
    Unavailable,
    UnexpectedReply,
    WaitTimeout,
)
from steeple.client.models import Job, JobPage

JOB: dict[str, Any] = {
    "id": "0199",
    "task": "demo.add",
    "args": {"a": 1},
    "state": "PENDING",
    "queue": "default",
    "priority": "high",
    "tags": ["nightly"],
    "unique_key": None,
    "unique_states": None,
    "unique_until": None,
    "run_at": "2026-11-24T00:00:00Z",
    "expires_at": None,
    "timeout": 600.0,
    "attempt": 0,
    "max_attempts": 5,
    "crashes": 0,
    "created_at": "2026-11-24T00:00:00Z",
    "started_at": None,
    "finished_at": None,
    "worker": None,
    "progress": None,
    "result": None,
    "error": None,
    "cancel_requested_at": None,
    "stop": None,
    "schedule_id": None,
    "limits": [],
    "fair_key": None,
    "after": [],
    "on_parent_failure": None,
    "flow_id": None,
}


def reply(status: int, document: object, content_type: str = "application/problem+json", **headers: str) -> wire.Reply:
    return wire.Reply(status, {"content-type": content_type, **headers}, json.dumps(document).encode())


def job(**changes: Any) -> Job:
    return Job.model_validate({**JOB, **changes})


def body_of(request: wire.Request[Any]) -> Any:
    assert request.body is not None
    return json.loads(request.body)


def test_a_job_has_every_member_of_the_contract_and_ignores_others() -> None:
    parsed = wire.get("0199").read(reply(200, {**JOB, "new_member": 1}, "application/json"))
    assert json.loads(parsed.model_dump_json()) == JOB


def test_a_job_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        job().state = "SUCCESS"  # type: ignore[misc]


def test_submit_carries_options_in_the_body_and_key_and_wait_in_headers() -> None:
    when = datetime(2026, 11, 24, 2, tzinfo=timezone(timedelta(hours=2)))
    options = {"run_at": when, "timeout": timedelta(minutes=2), "tags": ["a"], "idempotency_key": "k", "wait": 5}
    request = wire.submit("demo.add", {"a": 1}, options)
    expected = {"run_at": "2026-11-24T00:00:00Z", "timeout": 120.0, "tags": ["a"]}
    assert body_of(request) == {"task": "demo.add", "args": {"a": 1}} | expected
    assert request.headers == {"Idempotency-Key": "k", "Prefer": "wait=5"}
    assert request.hold == 5


def test_what_was_done_about_a_held_key_is_read_from_the_header() -> None:
    request = wire.submit("demo.noop", {}, {"unique_key": "u", "on_conflict": "existing"})
    assert request.read(reply(202, JOB, "application/json")).conflict is None
    joined = request.read(reply(202, JOB, "application/json", **{"unique-conflict": "existing"}))
    assert joined.conflict == "existing"
    assert json.loads(joined.model_dump_json()) == JOB


def test_each_submit_gets_an_idempotency_key_of_its_own() -> None:
    keys = {wire.submit("demo.noop", {}, {}).headers["Idempotency-Key"] for _ in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize("args", [{"a": float("nan")}, {"a": datetime(2026, 11, 24)}])  # noqa: DTZ001
def test_values_that_json_cannot_hold_are_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"JSON|zone"):
        wire.submit("demo.echo", args, {})


def test_an_object_is_not_a_json_value() -> None:
    with pytest.raises(TypeError, match="object is not a JSON value"):
        wire.submit("demo.echo", {"a": object()}, {})


@pytest.mark.parametrize("job_id", ["", ".", "..", "a/b", "a?b", "a%2fb", "a\n"])
def test_an_id_cannot_lead_to_another_path(job_id: str) -> None:
    with pytest.raises(ValueError, match="not the id of a job"):
        wire.get(job_id)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a?b", "a%2fb", "a\n", "-a"])
def test_the_name_of_a_queue_cannot_lead_to_another_path(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a queue"):
        wire_queues.show(name)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "ftp://host", "http://", "http://host:x", "http://host/?a=1", "http://u:secret@host"]
)
def test_urls_of_no_api_are_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(ValueError, match="the API's URL") as caught:
        wire.checked_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "stpl_x\n", "stpl x", "stpl_ü"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        wire.client_headers(key)
    assert "stpl" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, JobNotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, ApiError),
        (503, Unavailable),
    ],
)
def test_each_status_is_an_error_of_its_own(status: int, kind: type[ApiError]) -> None:
    document = {"title": "No", "detail": "why", "request_id": "r1", "status": status}
    with pytest.raises(ApiError) as caught:
        wire.get("0199").read(reply(status, document))
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.problem.detail, caught.value.problem.request_id) == (status, "why", "r1")


def test_an_invalid_request_points_at_its_fields() -> None:
    faults = [{"pointer": "/args/month", "detail": "is missing"}]
    with pytest.raises(InvalidRequest) as caught:
        wire.submit("demo.add", {}, {}).read(reply(422, {"title": "Invalid", "errors": faults}))
    assert [(fault.pointer, fault.detail) for fault in caught.value.errors] == [("/args/month", "is missing")]


def test_a_missing_job_is_named() -> None:
    with pytest.raises(JobNotFound) as caught:
        wire.cancel("0199").read(reply(404, {"title": "Not Found"}))
    assert caught.value.job_id == "0199"


def test_another_servers_404_is_not_a_missing_job() -> None:
    with pytest.raises(ApiError) as caught:
        wire.get("0199").read(wire.Reply(404, {"content-type": "text/html"}, b"<h1>nginx</h1>"))
    assert type(caught.value) is ApiError


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("0.5", 0.5), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_retry_after_is_read_in_seconds(header: str, seconds: float | None) -> None:
    with pytest.raises(RateLimited) as caught:
        wire.tasks().read(reply(429, {}, **{"retry-after": header}))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    "answer",
    [
        wire.Reply(200, {"content-type": "text/html"}, b"<html>"),
        reply(200, {"id": "0199"}),
        reply(200, []),
        wire.Reply(302, {"location": "https://elsewhere"}, b""),
    ],
)
def test_what_is_no_reply_of_the_api_is_told_apart(answer: wire.Reply) -> None:
    with pytest.raises(UnexpectedReply):
        wire.get("0199").read(answer)


def test_a_listing_without_its_member_is_no_reply_of_the_api() -> None:
    with pytest.raises(UnexpectedReply):
        wire.tasks().read(reply(200, {"other": []}))


@given(st.integers(100, 599), st.binary(max_size=60), st.sampled_from(["", "application/json", "text/html"]))
def test_any_reply_ends_in_a_value_or_a_client_error(status: int, body: bytes, content_type: str) -> None:
    with contextlib.suppress(ClientError):
        wire.workers().read(wire.Reply(status, {"content-type": content_type}, body))


def unavailable(retry_after: float | None = None) -> Unavailable:
    return Unavailable(503, Problem(), retry_after)


BROKEN = TransportError("http://x", "reset", was_sent=True)
REFUSED = TransportError("http://x", "refused", was_sent=False)


@pytest.mark.parametrize(
    ("request_", "error", "is_retried"),
    [
        (wire.submit("demo.noop", {}, {}), BROKEN, True),
        (wire.submit("demo.noop", {}, {}), unavailable(), True),
        (wire.get("0199"), BROKEN, True),
        (wire.cancel("0199"), REFUSED, True),
        (wire.cancel("0199"), BROKEN, False),
        (wire.cancel("0199"), unavailable(), False),
        (wire.submit_batch([], partial=False), BROKEN, False),
        (wire_queues.pause("q", None), BROKEN, True),
        (wire_queues.purge("q", dry_run=True), BROKEN, True),
        (wire_queues.purge("q", dry_run=False), BROKEN, False),
        (wire.get("0199"), RateLimited(429, Problem(), 1.0), False),
        (wire.get("0199"), unavailable(60.0), False),
    ],
)
def test_only_what_is_safe_is_sent_again(request_: wire.Request[Any], error: ClientError, is_retried: bool) -> None:
    assert (wire.pause_before_retry(request_, error, 1, 0.5) is not None) is is_retried


def test_pauses_grow_and_end_after_three_tries() -> None:
    pauses = [wire.pause_before_retry(wire.get("0199"), BROKEN, tries, 0.0) for tries in (1, 2, 3)]
    assert pauses == [0.25, 1.0, None]


def test_a_pause_is_at_least_what_the_api_asks_for() -> None:
    assert wire.pause_before_retry(wire.get("0199"), unavailable(3.0), 1, 0.0) == 3.0


def test_a_wait_asks_for_no_more_than_its_time() -> None:
    waiting = wire.Waiting("0199", 30.0, since=100.0)
    holds = [waiting.request(now).hold for now in (100.0, 125.0, 130.0, 140.0)]
    assert holds == [wire.LONGEST_HOLD, 5.0, 0.0, 0.0]


def test_a_wait_is_over_when_the_job_has_ended_or_time_is_up() -> None:
    waiting = wire.Waiting("0199", 30.0, since=100.0)
    assert waiting.is_over(job(state="FAILED"), now=200.0)
    assert not waiting.is_over(job(), now=129.0)
    with pytest.raises(WaitTimeout) as caught:
        waiting.is_over(job(), now=130.0)
    assert caught.value.job.state == "PENDING"


def test_a_wait_pauses_only_if_the_api_did_not_hold_it() -> None:
    waiting = wire.Waiting("0199", 30.0, since=100.0)
    assert waiting.pause(held=0.01, now=110.0) == 0.5
    assert waiting.pause(held=20.0, now=110.0) == 0.0
    assert waiting.pause(held=0.01, now=129.9) == pytest.approx(0.1)


def test_a_listing_walks_from_cursor_to_cursor_until_it_has_enough() -> None:
    walk = wire.Listing.of({"state": ["FAILED", "SUCCESS"], "q": None}, 150)
    assert walk is not None
    first = [("state", "FAILED"), ("state", "SUCCESS"), ("limit", "100")]
    assert list(walk.request().query) == first
    page = JobPage(jobs=(job(),) * 100, next_cursor="c2")
    walk = walk.after(page)
    assert walk is not None
    assert list(walk.request().query) == [*first[:2], ("limit", "50"), ("cursor", "c2")]
    assert len(walk.jobs_of(page)) == 50
    assert walk.after(page) is None


def test_a_listing_of_nothing_asks_nothing() -> None:
    assert wire.Listing.of({}, 0) is None


def test_filters_take_moments() -> None:
    walk = wire.Listing({"created_after": datetime(2026, 11, 24, tzinfo=UTC)})
    assert ("created_after", "2026-11-24T00:00:00Z") in walk.request().query

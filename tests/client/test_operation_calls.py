"""The client's calls about operations: what they send and how they read it, and both drivers against a real server."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from test_wire import JOB, body_of, reply

from steeple.client import (
    AsyncClient,
    Client,
    Conflict,
    InvalidRequest,
    OperationNotFound,
    OperationTimeout,
    operations,
)
from steeple.client.models import Operation, OperationPage
from steeple.client.operations import OperationListing, OperationWaiting

UNKNOWN = "0199aaaa-0000-7000-8000-000000000000"
OPERATION: dict[str, Any] = {
    "id": "0199",
    "action": "cancel",
    "filter": {"task": ["demo.add"]},
    "set": None,
    "state": "RUNNING",
    "done": 3,
    "skipped": 1,
    "total": 9,
    "reasons": [{"reason": "has ended", "jobs": 1, "examples": [{"id": "0198"}]}],
    "created_at": "2026-11-24T00:00:00Z",
    "started_at": None,
    "finished_at": None,
}


def operation(**changes: Any) -> Operation:
    return Operation.model_validate(OPERATION | changes)


def test_an_operation_has_every_member_and_ignores_others() -> None:
    parsed = operations.get("0199").read(reply(200, OPERATION | {"new_member": 1}, "application/json"))
    assert json.loads(parsed.model_dump_json()) == OPERATION


@pytest.mark.parametrize(("state", "is_finished"), [("PENDING", False), ("RUNNING", False), ("DONE", True)])
def test_an_operation_knows_whether_it_is_over(state: str, *, is_finished: bool) -> None:
    assert operation(state=state).is_finished is is_finished
    assert operation(state="ABORTED").is_finished


def test_what_is_asked_for_is_sent_by_the_api_s_names() -> None:
    request = operations.operate(
        "move", {"task": ("a", "b"), "q": "x"}, {"queue": "slow"}, everything=False, idempotency_key="k"
    )
    assert (request.method, request.path, request.headers) == ("POST", "/v1/operations", {"Idempotency-Key": "k"})
    assert body_of(request) == {"action": "move", "filter": {"task": ["a", "b"], "q": "x"}, "set": {"queue": "slow"}}
    assert request.is_repeatable


def test_each_operation_has_an_idempotency_key_of_its_own() -> None:
    first, second = (
        operations.operate("cancel", {"task": "a"}, None, everything=False, idempotency_key=None) for _ in range(2)
    )
    assert first.headers != second.headers


def test_every_job_and_a_preview_have_to_be_asked_for() -> None:
    body = body_of(operations.preview("cancel", {}, None, everything=True))
    assert body == {"action": "cancel", "filter": {}, "all": True, "dry_run": True}


def test_a_preview_is_read() -> None:
    found = operations.preview("cancel", {"task": "a"}, None, everything=False).read(
        reply(200, {"count": 1, "is_exact": False, "sample": [JOB]}, "application/json")
    )
    assert (found.count, found.is_exact, found.sample[0].id) == (1, False, "0199")


def test_an_unknown_operation_is_told_from_other_refusals() -> None:
    problem = {"type": "/problems/operation-not-found", "status": 404}
    with pytest.raises(OperationNotFound) as caught:
        operations.abort("0199").read(reply(404, problem))
    assert caught.value.operation_id == "0199"
    with pytest.raises(Conflict):
        operations.abort("0199").read(reply(409, {"type": "/problems/state-conflict", "status": 409}))


@pytest.mark.parametrize("wrong", ["", "../jobs", "a b"])
def test_what_is_no_id_is_never_sent(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not the id of an operation"):
        operations.get(wrong)


def test_the_list_goes_on_where_the_page_before_ended() -> None:
    listing = OperationListing.of(150, "DONE")
    assert listing is not None
    assert listing.request().query == [("state", "DONE"), ("limit", "100")]
    page = OperationPage(operations=(operation(),) * 100, next_cursor="c")
    following = listing.after(page)
    assert following is not None
    assert following.request().query == [("state", "DONE"), ("limit", "50"), ("cursor", "c")]
    assert following.after(OperationPage(operations=(operation(),) * 50, next_cursor="d")) is None
    assert listing.after(OperationPage(operations=(), next_cursor=None)) is None
    assert OperationListing.of(0, ()) is None


def test_a_wait_asks_ever_more_rarely_and_gives_up_in_time() -> None:
    waiting = OperationWaiting("0199", timeout=10.0, since=100.0)
    pauses = [waiting.pause]
    for _ in range(10):
        waiting = waiting.longer()
        pauses.append(waiting.pause)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0
    assert not waiting.is_over(operation(), 109.9)
    assert waiting.is_over(operation(state="DONE"), 111.0)
    with pytest.raises(OperationTimeout) as caught:
        waiting.is_over(operation(), 110.0)
    assert (caught.value.operation.id, caught.value.timeout) == ("0199", 10.0)
    assert not replace(waiting, timeout=None).is_over(operation(), 1e9)


class Blocking:
    """``AsyncClient`` with the face of ``Client``."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.Runner()
        self._client = AsyncClient(url)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: self._loop.run(getattr(self._client, name)(*args, **options))

    def operations(self, **options: Any) -> list[Operation]:
        async def collect() -> list[Operation]:
            return [each async for each in self._client.operations(**options)]

        return self._loop.run(collect())

    def __enter__(self) -> "Blocking":
        self._loop.run(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._client.__aexit__(None, None, None))
        self._loop.close()


@pytest.fixture(params=["sync", "aio"])
def client(request: pytest.FixtureRequest, installation_url: str) -> Iterator[Any]:
    kind: Any = Client if request.param == "sync" else Blocking
    with kind(installation_url) as found:
        yield found


def test_jobs_are_counted_cancelled_and_told_of(client: Any) -> None:
    tag = str(uuid4())
    client.submit_batch([{"task": "demo.noop", "args": {}, "delay": 3600, "tags": [tag]}] * 3)
    assert client.preview("cancel", tag=tag, state=["PENDING"]).count == 3
    begun = client.operate("cancel", tag=tag)
    ended = client.wait_for_operation(begun.id, timeout=30)
    assert (ended.id, ended.state, ended.done, ended.skipped) == (begun.id, "DONE", 3, 0)
    assert {job.state for job in client.preview("cancel", tag=tag).sample} == {"CANCELLED"}
    again = client.wait_for_operation(client.operate("cancel", tag=tag).id)
    assert [(each.reason, each.jobs) for each in again.reasons] == [("has ended", 3)]
    assert [each.id for each in client.operations(limit=2)] == [again.id, begun.id]


def test_an_operation_that_is_done_cannot_be_aborted(client: Any) -> None:
    nothing = client.operate("cancel", tag=str(uuid4()))
    assert nothing.state == "DONE"
    assert client.operation(nothing.id) == nothing
    with pytest.raises(Conflict):
        client.abort(nothing.id)
    with pytest.raises(OperationNotFound):
        client.abort(UNKNOWN)


def test_nothing_named_is_refused(client: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.operate("cancel")
    assert caught.value.errors[0].pointer == "/filter"

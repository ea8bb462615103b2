"""Jobs that wait for others, over HTTP: what is stored, what is refused, and by which place."""

import json
from typing import Any
from uuid import UUID

import pytest
from running_api import NOBODY, Api, kind, pointers

from playground import Playground, end
from steeple.domain.job import Hold
from steeple.domain.states import State

ADD = {"task": "add", "args": {"a": 1, "b": 2}}


def batch(api: Api, *jobs: dict[str, Any], query: str = "") -> Any:
    return api.http.post(f"/v1/jobs/batch{query}", json={"jobs": [ADD | job for job in jobs]})


def ids(reply: Any) -> list[str]:
    assert reply.status_code == 202, reply.text
    return [job["id"] for job in reply.json()["jobs"]]


def parents_of(api: Api, job_id: str) -> list[str]:
    found: list[str] = api.job(job_id)["after"]
    return found


def test_a_job_says_what_it_waits_for(api: Api, playground: Playground) -> None:
    parent = api.submit().json()["id"]
    job = api.submit(after=[parent], on_parent_failure="hold").json()
    assert (job["state"], job["after"], job["on_parent_failure"]) == ("PENDING", [parent], "hold")
    assert api.job(job["id"]) == job
    assert playground.held_by(UUID(job["id"])) == Hold.PARENTS


def test_a_job_without_parents_has_no_policy_for_them(api: Api) -> None:
    job = api.submit(on_parent_failure="run").json()
    assert (job["after"], job["on_parent_failure"], job["flow_id"]) == ([], None, None)
    assert api.job(job["id"]) == job


def test_a_job_whose_parents_have_ended_is_due_at_once(api: Api, playground: Playground) -> None:
    parent = playground.ended(State.SUCCESS, now=None).id
    job = api.submit(after=[str(parent)]).json()
    assert playground.held_by(UUID(job["id"])) is None


def test_a_job_whose_parent_has_failed_is_cancelled_at_once(api: Api, playground: Playground) -> None:
    parent = playground.ended(State.FAILED, now=None).id
    job = api.job(api.submit(after=[str(parent)]).json()["id"])
    assert (job["state"], job["error"]["reason"]) == ("CANCELLED", "parent_failed")
    assert str(parent) in job["error"]["message"]


@pytest.mark.parametrize("after", [[NOBODY], ["x"], [1], "x", [None], {}])
def test_what_is_no_job_is_refused(api: Api, playground: Playground, after: Any) -> None:
    reply = api.submit(after=after)
    assert kind(reply)[0] == 422
    assert pointers(reply)[0].startswith("/after")
    assert playground.value("SELECT count(*) FROM jobs") == 0


def test_an_unknown_policy_and_a_ref_of_a_single_job_are_refused(api: Api) -> None:
    assert pointers(api.submit(on_parent_failure="explode")) == ["/on_parent_failure"]
    assert pointers(api.submit(ref="a")) == ["/ref"]


def test_jobs_of_a_batch_wait_for_each_other_by_their_refs(api: Api, playground: Playground) -> None:
    outside = api.submit().json()["id"]
    last, first, second = ids(batch(api, {"after": ["a", "b", outside]}, {"ref": "a"}, {"ref": "b", "after": ["a"]}))
    assert sorted(parents_of(api, last)) == sorted([first, second, outside])
    assert parents_of(api, second) == [first]
    assert playground.held_by(UUID(second)) == Hold.PARENTS


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([{"after": ["a"]}], ["/jobs/0/after/0"]),
        ([{"ref": "a"}, {"after": ["a", "b", NOBODY]}], ["/jobs/1/after/1"]),
        ([{"ref": "a"}, {"after": ["a", NOBODY]}], ["/jobs/1/after/1"]),
        ([{"ref": "a"}, {"ref": "a"}], ["/jobs/1/ref"]),
        ([{"ref": NOBODY}], ["/jobs/0/ref"]),
        ([{"ref": "a", "after": ["a"]}], ["/jobs/0/after/0"]),
        ([{}, {"ref": "a", "after": ["b"]}, {"ref": "b", "after": ["a"]}], ["/jobs/1/after/0", "/jobs/2/after/0"]),
    ],
)
def test_what_cannot_be_is_refused_by_its_place(
    api: Api, playground: Playground, jobs: list[dict[str, Any]], expected: list[str]
) -> None:
    reply = batch(api, *jobs)
    assert kind(reply)[0] == 422
    assert pointers(reply) == expected
    assert playground.value("SELECT count(*) FROM jobs") == 0


def test_in_part_what_waits_for_a_refused_job_is_refused_too(api: Api, playground: Playground) -> None:
    api.submit(unique_key="k")
    reply = batch(
        api,
        {"ref": "a", "unique_key": "k"},
        {"ref": "b", "after": ["a"]},
        {"after": ["b"]},
        {"args": {"a": "x"}, "ref": "c"},
        {"after": ["c"]},
        {},
        query="?partial=true",
    )
    items = reply.json()["jobs"]
    assert [item.get("error", {}).get("status") for item in items] == [409, 422, 422, 422, 422, None]
    assert playground.value("SELECT count(*) FROM jobs") == 2
    assert playground.value("SELECT count(*) FROM job_parents") == 0


def test_a_batch_that_is_sent_again_with_its_key_is_the_same_jobs(api: Api, playground: Playground) -> None:
    body = json.dumps({"jobs": [ADD | {"ref": "a"}, ADD | {"after": ["a"]}]})
    first = api.post(body, "/v1/jobs/batch", **{"Idempotency-Key": "k"})
    again = api.post(body, "/v1/jobs/batch", **{"Idempotency-Key": "k"})
    assert ids(first) == ids(again)
    assert playground.value("SELECT count(*) FROM job_parents") == 1


def test_too_many_are_too_many(api: Api) -> None:
    one = {"ref": "a"}
    many = [{"after": ["a"] * 10_000} for _ in range(11)]
    reply = batch(api, one, *many)
    assert kind(reply)[0] == 422
    assert pointers(reply) == ["/jobs"]


def test_a_fan_in_of_ten_thousand(api: Api, playground: Playground) -> None:
    parents = ids(batch(api, *[{} for _ in range(9999)]))
    (child,) = ids(batch(api, {"after": parents}))
    assert playground.held_by(UUID(child)) == Hold.PARENTS
    assert len(parents_of(api, child)) == 9999
    claimant = playground.worker()
    finishes: list[Any] = []
    while jobs := playground.exchange(claimant, finishes, 500, now=None).jobs:
        assert UUID(child) not in {job.id for job in jobs} or len(jobs) == 1
        finishes = [end(job, State.SUCCESS) for job in jobs]
    assert api.job(child)["state"] == "PENDING"
    assert playground.held_by(UUID(child)) is None
    assert [job.id for job in playground.claim(claimant, now=None)] == [UUID(child)]


def test_a_held_job_is_run_all_the_same_by_a_retry(api: Api, playground: Playground) -> None:
    parent = playground.ended(State.FAILED, now=None).id
    job = api.submit(after=[str(parent)], on_parent_failure="hold").json()["id"]
    assert playground.held_by(UUID(job)) == Hold.PARENT_FAILED
    assert api.http.post(f"/v1/jobs/{job}/retry").status_code == 202
    assert playground.held_by(UUID(job)) is None
    assert kind(api.http.post(f"/v1/jobs/{job}/retry")) == (409, "state-conflict")

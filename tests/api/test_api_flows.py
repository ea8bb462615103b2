"""Flows over HTTP: their state, cancelled and started anew as a whole."""

from typing import Any
from uuid import UUID

import pytest
from running_api import NOBODY, Api, kind

from playground import Playground, end
from steeple.domain.job import Hold
from steeple.domain.states import State
from steeple.store.rollup import roll_up

FLOW = "019ab4c2-7d1e-7a30-8f4e-2b6c1d9e0b11"
ADD: dict[str, Any] = {"task": "add", "args": {"a": 1, "b": 2}, "flow_id": FLOW}


def diamond(api: Api) -> list[str]:
    """One, two that wait for it, and one that waits for both."""
    jobs: list[dict[str, Any]] = [
        {"ref": "a"},
        {"ref": "b", "after": ["a"]},
        {"ref": "c", "after": ["a"]},
        {"after": ["b", "c"]},
    ]
    reply = api.http.post("/v1/jobs/batch", json={"jobs": [ADD | job for job in jobs]})
    assert reply.status_code == 202, reply.text
    return [job["id"] for job in reply.json()["jobs"]]


def flow(api: Api, query: str = "") -> dict[str, Any]:
    reply = api.http.get(f"/v1/flows/{FLOW}{query}")
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def act(api: Api, action: str, flow_id: str = FLOW) -> Any:
    return api.http.post(f"/v1/flows/{flow_id}/{action}")


def run(playground: Playground, state: State = State.SUCCESS) -> int:
    """All that is due now ends so; how many."""
    claimant = playground.worker()
    jobs = [job for _ in range(10) for job in playground.claim(claimant, 50, now=None)]
    playground.finish(claimant, *(end(job, state) for job in jobs), now=None)
    return len(jobs)


def states(api: Api, jobs: list[str]) -> list[str]:
    return [api.job(job)["state"] for job in jobs]


def test_a_flow_shows_its_jobs_and_what_they_wait_for(api: Api) -> None:
    first, second, third, last = diamond(api)
    found = flow(api)
    assert (found["id"], found["name"], found["state"], found["finished_at"]) == (FLOW, None, "PENDING", None)
    assert found["counts"] == {"PENDING": 4, "RUNNING": 0, "SUCCESS": 0, "FAILED": 0, "CANCELLED": 0}
    jobs = {job["id"]: job for job in found["jobs"]}
    assert jobs[first]["held_by"] is None
    assert jobs[last] == {
        "id": last,
        "task": "add",
        "state": "PENDING",
        "held_by": "parents",
        "after": sorted([second, third]),
    }
    assert found["has_more"] is False
    some = flow(api, "?limit=1")
    assert (len(some["jobs"]), some["has_more"]) == (1, True)


def test_a_flow_runs_to_its_end(api: Api, playground: Playground) -> None:
    diamond(api)
    assert (run(playground), flow(api)["state"]) == (1, "RUNNING")
    assert (run(playground), flow(api)["state"]) == (2, "RUNNING")
    assert (run(playground), flow(api)["state"]) == (1, "SUCCESS")
    assert flow(api)["finished_at"] is not None


def test_a_flow_is_started_anew_from_where_it_failed(api: Api, playground: Playground) -> None:
    jobs = diamond(api)
    run(playground)
    run(playground, State.FAILED)
    assert states(api, jobs) == ["SUCCESS", "FAILED", "FAILED", "CANCELLED"]
    assert flow(api)["state"] == "FAILED"
    reply = act(api, "retry")
    assert (reply.status_code, reply.json()["state"]) == (202, "RUNNING")
    assert states(api, jobs) == ["SUCCESS", "PENDING", "PENDING", "PENDING"]
    assert [playground.held_by(UUID(job)) for job in jobs] == [None, None, None, Hold.PARENTS]
    assert (run(playground), run(playground), flow(api)["state"]) == (2, 1, "SUCCESS")


def test_a_cancelled_flow_can_be_started_anew(api: Api, playground: Playground) -> None:
    jobs = diamond(api)
    run(playground)
    reply = act(api, "cancel")
    assert (reply.status_code, reply.json()["state"]) == (202, "CANCELLED")
    assert states(api, jobs) == ["SUCCESS", "CANCELLED", "CANCELLED", "CANCELLED"]
    assert kind(act(api, "cancel")) == (409, "flow-conflict")
    assert act(api, "retry").status_code == 202
    assert (run(playground), run(playground), flow(api)["state"]) == (2, 1, "SUCCESS")
    assert kind(act(api, "retry")) == (409, "flow-conflict")


def test_a_running_job_of_a_cancelled_flow_is_told(api: Api, playground: Playground) -> None:
    jobs = diamond(api)
    claimant = playground.worker()
    (job,) = playground.claim(claimant, now=None)
    assert act(api, "cancel").json()["state"] == "RUNNING"
    assert api.job(jobs[0])["cancel_requested_at"] is not None
    playground.finish(claimant, end(job, State.CANCELLED), now=None)
    assert flow(api)["state"] == "CANCELLED"


def test_held_jobs_of_a_flow_wait_for_a_decision(api: Api, playground: Playground) -> None:
    jobs: list[dict[str, Any]] = [{"ref": "a"}, {"after": ["a"], "on_parent_failure": "hold"}]
    reply = api.http.post("/v1/jobs/batch", json={"jobs": [ADD | job for job in jobs]})
    run(playground, State.FAILED)
    assert (flow(api)["state"], flow(api)["held"]) == ("FAILED", 1)
    assert act(api, "retry").status_code == 202
    child = UUID(reply.json()["jobs"][1]["id"])
    assert playground.held_by(child) == Hold.PARENTS
    assert (run(playground), run(playground), flow(api)["state"]) == (1, 1, "SUCCESS")


def test_a_parent_outside_is_looked_at_as_it_is_now(api: Api, playground: Playground) -> None:
    parent = playground.ended(State.FAILED, now=None).id
    child = api.submit(after=[str(parent)], flow_id=FLOW).json()["id"]
    assert api.job(child)["state"] == "CANCELLED"
    act(api, "retry")
    assert api.job(child)["state"] == "CANCELLED"
    api.http.post(f"/v1/jobs/{parent}/retry")
    run(playground)
    act(api, "retry")
    assert (api.job(child)["state"], playground.held_by(UUID(child))) == ("PENDING", None)


def test_a_unique_key_that_is_taken_meanwhile_refuses_the_retry(api: Api, playground: Playground) -> None:
    api.submit(flow_id=FLOW, unique_key="k")
    run(playground, State.FAILED)
    rival = api.submit(unique_key="k").json()["id"]
    reply = act(api, "retry")
    assert kind(reply) == (409, "unique-key-held")
    assert reply.json()["job_id"] == rival
    assert flow(api)["state"] == "FAILED"


def test_two_jobs_of_a_flow_with_one_unique_key_are_not_both_started(api: Api, playground: Playground) -> None:
    for _ in range(2):
        api.submit(flow_id=FLOW, unique_key="k")
        run(playground, State.FAILED)
    assert kind(act(api, "retry")) == (409, "unique-key-held")


def test_a_retry_is_no_longer_counted_as_finished(api: Api, playground: Playground) -> None:
    diamond(api)
    run(playground, State.FAILED)
    playground.sql("UPDATE jobs SET finished_at = finished_at - interval '5 min' WHERE finished_at IS NOT NULL")
    with playground.engine.begin() as connection:
        roll_up(connection)
    counted = "SELECT COALESCE(sum(jobs), 0) FROM finished_minutes"
    assert playground.value(counted) == 4
    act(api, "retry")
    assert playground.value(counted) == 0


@pytest.mark.parametrize("flow_id", [NOBODY, "52f1b393-614e-4499-8666-65160b60eb9a", "x", "%00"])
def test_there_is_no_such_flow(api: Api, flow_id: str) -> None:
    assert kind(api.http.get(f"/v1/flows/{flow_id}")) == (404, "flow-not-found")
    assert kind(act(api, "cancel", flow_id)) == (404, "flow-not-found")
    assert kind(act(api, "retry", flow_id)) == (404, "flow-not-found")

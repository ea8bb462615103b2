"""Unique keys over HTTP: what may be chosen, and how an answer tells a new job from the one that held the key."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
from running_api import Api, kind, pointers

from playground import Playground
from steeple.domain.states import State


def times(api: Api, job_id: str) -> tuple[datetime, datetime]:
    job = api.job(job_id)
    return datetime.fromisoformat(job["created_at"]), datetime.fromisoformat(job["run_at"])


def test_a_job_shows_how_it_holds_its_key(api: Api) -> None:
    reply = api.submit(unique_key="u", unique_states=["RUNNING", "PENDING", "SUCCESS", "PENDING"], unique_period=60)
    assert reply.status_code == 202
    job = reply.json()
    assert job == api.job(job["id"])
    assert job["unique_states"] == ["PENDING", "RUNNING", "SUCCESS"]
    held_for = datetime.fromisoformat(job["unique_until"]) - datetime.fromisoformat(job["created_at"])
    assert held_for == timedelta(seconds=60)
    plain = api.submit().json()
    assert (plain["unique_states"], plain["unique_until"]) == (None, None)


def test_the_existing_job_is_the_answer(api: Api, playground: Playground) -> None:
    first = api.submit(unique_key="u", delay=60)
    again = api.submit(unique_key="u", on_conflict="existing", args={"a": 5, "b": 5})
    assert again.status_code == 202
    assert "Unique-Conflict" not in first.headers
    assert again.headers["Unique-Conflict"] == "existing"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json() == first.json()
    assert playground.value("SELECT count(*) FROM jobs") == 1


def test_a_pending_job_is_replaced(api: Api) -> None:
    first = api.submit(unique_key="u", delay=60).json()
    reply = api.submit(unique_key="u", on_conflict="replace", args={"a": 5, "b": 5}, priority="high")
    assert reply.headers["Unique-Conflict"] == "replace"
    job = reply.json()
    assert (job["id"], job["args"], job["priority"]) == (first["id"], {"a": 5, "b": 5}, "high")
    assert job["run_at"] < first["run_at"]


def test_a_pending_job_is_pushed_back(api: Api) -> None:
    first = api.submit(unique_key="u", delay=60).json()
    reply = api.submit(unique_key="u", on_conflict="debounce", delay=120)
    assert reply.headers["Unique-Conflict"] == "debounce"
    created_at, run_at = times(api, first["id"])
    assert run_at - created_at >= timedelta(seconds=119)


@pytest.mark.parametrize("way", ["reject", "replace", "debounce"])
def test_a_running_job_is_neither_replaced_nor_pushed_back(api: Api, playground: Playground, way: str) -> None:
    holder = playground.running(unique_key="u", now=None)
    reply = api.submit(unique_key="u", on_conflict=way)
    assert kind(reply) == (409, "unique-key-held")
    assert reply.json()["job_id"] == str(holder.id)


def test_a_job_that_holds_its_key_while_it_is_pending_lets_go_as_it_is_claimed(
    api: Api, playground: Playground
) -> None:
    playground.running(unique_key="u", unique_states=(State.PENDING,), now=None)
    assert api.submit(unique_key="u").status_code == 202


def test_a_batch_tells_of_each_job_what_was_done(api: Api) -> None:
    first = api.submit(unique_key="u", delay=60).json()
    job = {"task": "add", "args": {"a": 1, "b": 2}}
    wishes: list[dict[str, Any]] = [
        {"unique_key": "u", "on_conflict": "existing"},
        {},
        {"unique_key": "u", "on_conflict": "debounce", "delay": 90},
        {"unique_key": "u", "on_conflict": "replace"},
        {"unique_key": "v", "on_conflict": "existing"},
        {"unique_key": "v", "on_conflict": "existing"},
    ]
    reply = api.http.post("/v1/jobs/batch", json={"jobs": [job | wish for wish in wishes]})
    assert reply.status_code == 202, reply.text
    items = reply.json()["jobs"]
    assert [item.get("conflict") for item in items] == ["existing", None, "debounce", "replace", None, "existing"]
    assert [items[place]["id"] for place in (0, 2, 3)] == [first["id"]] * 3
    assert items[4]["id"] == items[5]["id"]


def test_a_batch_that_is_refused_has_replaced_nothing(api: Api) -> None:
    first = api.submit(unique_key="u", delay=60).json()
    job = {"task": "add", "args": {"a": 7, "b": 2}, "unique_key": "u"}
    jobs = [job | {"on_conflict": "replace"}, job]
    reply = api.http.post("/v1/jobs/batch", json={"jobs": jobs})
    assert kind(reply) == (409, "unique-key-held")
    assert api.job(first["id"]) == first


@pytest.mark.parametrize("way", ["existing", "replace", "debounce"])
def test_a_repeated_request_is_told_of_the_job_that_it_came_to(api: Api, playground: Playground, way: str) -> None:
    held = api.submit(unique_key="u", delay=60).json()

    def repeat() -> httpx2.Response:
        body = {"task": "add", "args": {"a": 1, "b": 2}, "unique_key": "u", "on_conflict": way}
        return api.post(json.dumps(body), **{"Idempotency-Key": "k"})

    assert "Idempotent-Replayed" not in repeat().headers
    api.http.post(f"/v1/jobs/{held['id']}/cancel")
    again = repeat()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Unique-Conflict"] == way
    assert (again.json()["id"], again.json()["state"]) == (held["id"], "CANCELLED")
    assert playground.value("SELECT count(*) FROM jobs") == 1


@pytest.mark.parametrize(
    "options",
    [
        {"unique_key": "u", "unique_states": []},
        {"unique_key": "u", "unique_states": ["RUNNING"]},
        {"unique_key": "u", "unique_states": ["PENDING", "DONE"]},
        {"unique_key": "u", "unique_states": "PENDING"},
        {"unique_key": "u", "unique_period": 0},
        {"unique_key": "u", "unique_period": "60"},
        {"unique_key": "u", "unique_period": 1e12},
        {"unique_key": "u", "on_conflict": "ignore"},
        {"on_conflict": "existing"},
        {"unique_states": ["PENDING"]},
        {"unique_period": 60},
    ],
    ids=str,
)
def test_what_cannot_be_chosen_is_refused(api: Api, playground: Playground, options: dict[str, Any]) -> None:
    reply = api.submit(**options)
    assert kind(reply) == (422, "invalid-request")
    assert pointers(reply)
    assert playground.value("SELECT count(*) FROM jobs") == 0

"""Operations over HTTP: what is asked for, what is refused, how far they have come, and who may."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from running_api import NOBODY, Api, kind, make_app, pointers, running

from playground import Playground
from steeple import Settings
from steeple.domain.operation import OVER
from steeple.domain.states import State
from steeple.store import operations
from steeple.store.keys import Scope, create_key

PENDING_OF_T = {"action": "cancel", "filter": {"task": "t", "state": "PENDING"}}


def ask(api: Api, body: Any, **headers: str) -> httpx2.Response:
    return api.http.post("/v1/operations", json=body, headers=headers)


def made(api: Api, body: Any) -> dict[str, Any]:
    reply = ask(api, body)
    assert reply.status_code == 202, reply.text
    found: dict[str, Any] = reply.json()
    return found


def work_off(playground: Playground) -> None:
    """As a scheduler does."""
    while True:
        with playground.engine.begin() as connection:
            operation_id = operations.next_operation(connection)
        if operation_id is None:
            return
        with playground.engine.begin() as connection:
            operations.advance(connection, operation_id, limit=2)


def states(playground: Playground) -> list[str]:
    return [row.state for row in playground.sql("SELECT state FROM jobs ORDER BY id")]


def test_an_operation_is_made_worked_off_and_shown(api: Api, playground: Playground) -> None:
    playground.add_many(3, now=None)
    other = playground.add(now=None, task="other")
    reply = ask(api, PENDING_OF_T)
    found = reply.json()
    assert (reply.status_code, reply.headers["Location"]) == (202, f"/v1/operations/{found['id']}")
    assert {name: found[name] for name in ("action", "filter", "set", "state", "done", "skipped", "total")} == {
        "action": "cancel",
        "filter": {"state": ["PENDING"], "task": ["t"]},
        "set": None,
        "state": "PENDING",
        "done": 0,
        "skipped": 0,
        "total": 3,
    }
    work_off(playground)
    shown = api.http.get(reply.headers["Location"]).json()
    assert (shown["state"], shown["done"], shown["skipped"], shown["total"]) == ("DONE", 3, 0, 3)
    assert None not in (shown["started_at"], shown["finished_at"])
    assert playground.read(other).state == State.PENDING


@pytest.mark.parametrize(
    ("action", "change", "column", "value"),
    [("reprioritise", {"priority": "high"}, "priority", 0), ("move", {"queue": "z"}, "queue", "z")],
)
def test_what_is_set_is_shown_and_done(
    api: Api, playground: Playground, action: str, change: dict[str, str], column: str, value: object
) -> None:
    playground.add(now=None)
    found = made(api, {"action": action, "filter": {"task": ["t", "u"]}, "set": change})
    assert found["set"] == change
    work_off(playground)
    assert playground.value(f"SELECT {column} FROM jobs") == value


def test_the_reasons_of_what_was_skipped_are_shown_with_examples(api: Api, playground: Playground) -> None:
    playground.add(now=None)
    ended = playground.ended(State.SUCCESS, now=None, queue="e").id
    running_job = playground.running(now=None, queue="r").id
    found = made(api, {"action": "move", "filter": {"task": "t"}, "set": {"queue": "z"}})
    work_off(playground)
    shown = api.http.get(f"/v1/operations/{found['id']}").json()
    assert (shown["done"], shown["skipped"]) == (1, 2)
    assert sorted(shown["reasons"], key=lambda each: str(each["reason"])) == [
        {"reason": "has ended", "jobs": 1, "examples": [{"id": str(ended)}]},
        {"reason": "is running", "jobs": 1, "examples": [{"id": str(running_job)}]},
    ]


def test_a_dry_run_counts_and_shows_some_and_does_nothing(api: Api, playground: Playground) -> None:
    jobs = playground.add_many(12, now=None)
    reply = ask(api, PENDING_OF_T | {"dry_run": True})
    found = reply.json()
    assert (reply.status_code, found["count"], found["is_exact"]) == (200, 12, True)
    assert [job["id"] for job in found["sample"]] == [str(job_id) for job_id in jobs[:-11:-1]]
    assert api.http.get("/v1/operations").json() == {"operations": [], "next_cursor": None}
    assert set(states(playground)) == {"PENDING"}


def test_a_dry_run_finds_what_the_list_finds(api: Api, playground: Playground) -> None:
    playground.add(now=None, tags=("red",))
    playground.add(now=None, tags=("blue",), queue="q")
    for name, value in {"tag": "red", "queue": "q", "q": "blu", "state": "PENDING", "priority": "default"}.items():
        listed = api.http.get("/v1/jobs", params={name: value}).json()["jobs"]
        found = ask(api, {"action": "cancel", "filter": {name: value}, "dry_run": True}).json()
        assert (found["count"], found["sample"]) == (len(listed), listed), name


@pytest.mark.parametrize("more", [{}, {"dry_run": True}])
def test_an_empty_filter_is_not_every_job_by_accident(
    api: Api, playground: Playground, more: dict[str, object]
) -> None:
    playground.add(now=None)
    reply = ask(api, {"action": "cancel", "filter": {}, **more})
    assert (kind(reply), pointers(reply)) == ((422, "invalid-request"), ["/filter"])
    assert states(playground) == ["PENDING"]


def test_every_job_can_be_meant(api: Api, playground: Playground) -> None:
    playground.add_many(2, now=None)
    found = made(api, {"action": "cancel", "filter": {}, "all": True})
    assert (found["filter"], found["total"]) == ({}, 2)
    work_off(playground)
    assert states(playground) == ["CANCELLED"] * 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"filter": {"task": "t"}}, "/action"),
        ({"action": "explode", "filter": {"task": "t"}}, "/action"),
        ({"action": "cancel"}, "/filter"),
        ({"action": "cancel", "filter": {"task": []}}, "/filter/task"),
        ({"action": "cancel", "filter": {"task": None}}, "/filter/task"),
        ({"action": "cancel", "filter": {"task": "t", "q": ""}}, "/filter/q"),
        ({"action": "cancel", "filter": {"task": "t", "state": ["PENDING", "ODD"]}}, "/filter/state/1"),
        ({"action": "cancel", "filter": {"state": "ODD"}}, "/filter/state"),
        ({"action": "cancel", "filter": {"task": ["t"] * 1001}}, "/filter/task"),
        ({"action": "cancel", "filter": {"task": 7}}, "/filter/task"),
        ({"action": "cancel", "filter": {"created_after": "yesterday"}}, "/filter/created_after"),
        ({"action": "cancel", "filter": {"limit": 3}}, "/filter/limit"),
        ({"action": "cancel", "filter": {"task": "t"}, "all": True}, "/all"),
        ({"action": "cancel", "filter": {"task": "t"}, "set": {"queue": "q"}}, "/set"),
        ({"action": "move", "filter": {"task": "t"}}, "/set"),
        ({"action": "move", "filter": {"task": "t"}, "set": {"priority": "high", "queue": "q"}}, "/set/priority"),
        ({"action": "move", "filter": {"task": "t"}, "set": {"queue": "no queue"}}, "/set/queue"),
        ({"action": "reprioritise", "filter": {"task": "t"}, "set": {"priority": "highest"}}, "/set/priority"),
        ({"action": "cancel", "filter": {"task": "t"}, "colour": "red"}, "/colour"),
        ({"action": "cancel", "filter": {"task": "t"}, "dry_run": "yes"}, "/dry_run"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    api: Api, playground: Playground, body: dict[str, Any], pointer: str
) -> None:
    reply = ask(api, body)
    assert (kind(reply), pointers(reply)) == ((422, "invalid-request"), [pointer])
    assert playground.value("SELECT count(*) FROM operations") == 0


@pytest.mark.parametrize("text", ['{"action": "cancel", "filter": {"task": "a\\u0000"}}', "[]", '{"action": 1e999}'])
def test_input_that_cannot_be_stored_is_refused(api: Api, text: str) -> None:
    assert api.post(text, "/v1/operations").status_code == 422


def test_a_repeated_request_gives_the_same_operation_as_it_is_now(api: Api, playground: Playground) -> None:
    playground.add(now=None)
    first = ask(api, PENDING_OF_T, **{"Idempotency-Key": "k"})
    work_off(playground)
    playground.add(now=None)
    again = ask(api, PENDING_OF_T, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert (again.json()["id"], again.json()["state"], again.json()["done"]) == (first.json()["id"], "DONE", 1)
    assert "Idempotent-Replayed" not in first.headers


def test_another_request_under_the_same_key_is_refused_and_names_the_operation(
    api: Api, playground: Playground
) -> None:
    first = ask(api, PENDING_OF_T, **{"Idempotency-Key": "k"}).json()
    reply = ask(api, PENDING_OF_T | {"action": "move", "set": {"queue": "z"}}, **{"Idempotency-Key": "k"})
    assert kind(reply) == (422, "idempotency-key-reused")
    assert reply.json()["operation_id"] == first["id"]


def test_an_operation_is_aborted_however_often_it_is_asked_for(api: Api, playground: Playground) -> None:
    playground.add_many(3, now=None)
    found = made(api, PENDING_OF_T)
    path = f"/v1/operations/{found['id']}"
    reply = api.http.post(f"{path}/abort")
    assert (reply.status_code, reply.json()["state"], reply.json()["done"]) == (202, "ABORTED", 0)
    assert api.http.get(path).json() == reply.json()
    again = api.http.post(f"{path}/abort")
    assert (again.status_code, again.json()) == (202, reply.json())
    work_off(playground)
    assert set(states(playground)) == {"PENDING"}


def test_an_operation_that_is_done_cannot_be_aborted(api: Api, playground: Playground) -> None:
    playground.add(now=None)
    found = made(api, PENDING_OF_T)
    work_off(playground)
    reply = api.http.post(f"/v1/operations/{found['id']}/abort")
    assert kind(reply) == (409, "state-conflict")
    assert (reply.json()["operation_id"], reply.json()["state"]) == (found["id"], "DONE")


@pytest.mark.parametrize("wrong", [NOBODY, "no-id", NOBODY.replace("-", "")])
def test_an_unknown_operation_is_not_found(api: Api, wrong: str) -> None:
    assert kind(api.http.get(f"/v1/operations/{wrong}")) == (404, "operation-not-found")
    assert kind(api.http.post(f"/v1/operations/{wrong}/abort")) == (404, "operation-not-found")


def test_operations_are_listed_page_by_page(api: Api, playground: Playground) -> None:
    playground.add(now=None)
    made_ids = [made(api, PENDING_OF_T)["id"] for _ in range(3)]
    api.http.post(f"/v1/operations/{made_ids[0]}/abort")
    first = api.http.get("/v1/operations", params={"limit": 2}).json()
    rest = api.http.get("/v1/operations", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [each["id"] for each in (*first["operations"], *rest["operations"])] == made_ids[::-1]
    assert rest["next_cursor"] is None
    aborted = api.http.get("/v1/operations", params={"state": ["ABORTED", "DONE"]}).json()
    assert [each["id"] for each in aborted["operations"]] == made_ids[:1]
    assert kind(api.http.get("/v1/operations", params={"cursor": "x"})) == (422, "invalid-request")


@pytest.fixture
def keys(playground: Playground) -> dict[Scope, str]:
    with playground.engine.begin() as connection:
        return {scope: create_key(connection, scope.value, [scope]).key for scope in Scope}


@pytest.fixture
def guarded(playground: Playground, keys: dict[Scope, str]) -> Iterator[Api]:
    settings = Settings(database_url=playground.url, broker_url=None)
    with running(settings, make_app(settings)) as api:
        yield api


def test_to_delete_takes_the_scope_admin(guarded: Api, playground: Playground, keys: dict[Scope, str]) -> None:
    playground.add(now=None)
    body = {"action": "delete", "filter": {"task": "t"}}
    bearer = {scope: {"Authorization": f"Bearer {key}"} for scope, key in keys.items()}
    refused = ask(guarded, body, **bearer[Scope.WRITE])
    assert (kind(refused), refused.json()["detail"]) == (
        (403, "forbidden"),
        "this needs a key with the scope admin",
    )
    assert ask(guarded, body | {"dry_run": True}, **bearer[Scope.WRITE]).json()["count"] == 1
    assert kind(ask(guarded, body | {"dry_run": True}, **bearer[Scope.READ])) == (403, "forbidden")
    assert playground.value("SELECT count(*) FROM operations") == 0
    found = ask(guarded, body, **bearer[Scope.ADMIN])
    assert found.status_code == 202
    work_off(playground)
    assert playground.value("SELECT count(*) FROM jobs") == 0
    assert playground.value("SELECT state FROM operations") in OVER

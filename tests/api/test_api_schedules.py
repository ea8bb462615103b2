"""Schedules over HTTP: made, shown, listed, changed, deleted; and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from running_api import NOBODY, Api, kind, pointers

from playground import Playground

MEMBERS = {
    "id", "name", "task", "args", "queue", "priority", "cron", "interval", "times", "timezone", "starts_at", "ends_at",
    "jitter", "overlap", "catch_up", "catch_up_window", "paused", "pause_note", "reading", "next_fires",
    "next_fires_local", "source", "version", "created_at", "updated_at",
}  # fmt: skip


def body(**fields: Any) -> dict[str, Any]:
    given = {"name": "s", "task": "add", "args": {"a": 1, "b": 2}} | fields
    return given if {"cron", "interval", "times"} & given.keys() else given | {"cron": "30 2 * * *"}


def make(api: Api, **fields: Any) -> dict[str, Any]:
    reply = api.http.post("/v1/schedules", json=body(**fields))
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.json()
    return found


def test_a_new_schedule_says_all_about_itself(api: Api) -> None:
    reply = api.http.post("/v1/schedules", json=body(timezone="Europe/Berlin", jitter=0, priority="low"))
    made = reply.json()
    assert reply.status_code == 201
    assert set(made) == MEMBERS
    assert reply.headers["Location"] == f"/v1/schedules/{made['id']}"
    assert reply.headers["ETag"] == '"1"'
    assert (made["task"], made["args"], made["queue"], made["priority"]) == ("add", {"a": 1, "b": 2}, "default", "low")
    assert (made["cron"], made["interval"], made["times"]) == ("30 2 * * *", None, None)
    assert (made["overlap"], made["catch_up"], made["catch_up_window"]) == ("skip", "last", 86400.0)
    assert (made["paused"], made["pause_note"], made["source"], made["version"]) == (False, None, "api", 1)
    assert made["reading"] == "At 02:30 every day, Europe/Berlin time"
    assert len(made["next_fires"]) == 5
    local = [datetime.fromisoformat(each) for each in made["next_fires_local"]]
    assert [each.astimezone(UTC) for each in local] == [datetime.fromisoformat(each) for each in made["next_fires"]]
    assert {(each.hour, each.minute) for each in local} == {(2, 30)}
    assert api.http.get(f"/v1/schedules/{made['id']}").json() == made


def test_its_arguments_are_kept_number_for_number_and_its_task_s_defaults_taken(api: Api) -> None:
    text = '{"name": "s", "task": "echo", "args": {"value": [1.50, 1e2, 12345678901234567890]}, "interval": 60}'
    reply = api.post(text, "/v1/schedules")
    assert '"args":{"value": [1.50, 1e2, 12345678901234567890]}' in reply.text
    assert (reply.json()["queue"], reply.json()["priority"]) == ("echoes", "low")


def test_an_interval_counts_from_now_and_times_from_the_first_to_come(api: Api) -> None:
    made = make(api, interval=90)
    created, first, second = (datetime.fromisoformat(each) for each in (made["created_at"], *made["next_fires"][:2]))
    assert first - created == second - first == timedelta(seconds=90)
    assert made["reading"] == "Every 90 seconds"
    times = ["2030-01-01T12:00:00+01:00", "2020-01-01T00:00:00Z", "2029-01-01T00:00:00Z"]
    given = make(api, name="times", times=times)
    assert given["next_fires"] == ["2029-01-01T00:00:00Z", "2030-01-01T11:00:00Z"]
    assert given["times"] == ["2020-01-01T00:00:00Z", *given["next_fires"]]


def test_one_that_is_made_paused_has_no_next_fires(api: Api) -> None:
    made = make(api, paused=True, pause_note="not yet")
    assert (made["paused"], made["pause_note"], made["next_fires"]) == (True, "not yet", [])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a cron field that cannot be": ({"cron": "0 25 * * *"}, "/cron"),
    "a cron expression of three fields": ({"cron": "* * *"}, "/cron"),
    "a nickname that is none": ({"cron": "@reboot"}, "/cron"),
    "a day that never comes": ({"cron": "0 0 30 2 *"}, "/cron"),
    "cron as a number": ({"cron": 5}, "/cron"),
    "two rules": ({"cron": "@daily", "interval": 60}, "/interval"),
    "no interval": ({"interval": 0}, "/interval"),
    "an interval below a second": ({"interval": 0.5}, "/interval"),
    "an interval as text": ({"interval": "60"}, "/interval"),
    "no times": ({"times": []}, "/times"),
    "a time without a zone": ({"times": ["2030-01-01T00:00:00"]}, "/times/0"),
    "a time of the year 9999": ({"times": ["9999-12-31T23:59:59Z"]}, "/times/0"),
    "a start in the year 1": ({"starts_at": "0001-01-01T00:00:00Z"}, "/starts_at"),
    "too many times": ({"times": ["2030-01-01T00:00:00Z"] * 1001}, "/times"),
    "an unknown zone": ({"timezone": "Europe/Atlantis"}, "/timezone"),
    "a path as a zone": ({"timezone": "../etc/passwd"}, "/timezone"),
    "a part of a zone": ({"timezone": "Europe"}, "/timezone"),
    "an end before the start": (
        {"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2029-01-01T00:00:00Z"},
        "/ends_at",
    ),
    "jitter below nothing": ({"jitter": -1}, "/jitter"),
    "an overlap that is none": ({"overlap": "kill"}, "/overlap"),
    "a catch-up that is none": ({"catch_up": "some"}, "/catch_up"),
    "an unknown member": ({"colour": "red"}, "/colour"),
    "no name": ({"name": ""}, "/name"),
    "a name with a NUL": ({"name": "a\x00"}, "/name"),
    "a name of 201 characters": ({"name": "n" * 201}, "/name"),
    "a queue that is none": ({"queue": "a b"}, "/queue"),
    "a task that is none": ({"task": "nobody"}, "/task"),
    "an argument that the task has not": ({"args": {"a": 1, "b": 2, "c": 3}}, "/args/c"),
    "an argument of the wrong type": ({"args": {"a": "one", "b": 2}}, "/args/a"),
    "arguments as a list": ({"args": []}, "/args"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_with_its_place(api: Api, playground: Playground, case: str) -> None:
    fields, pointer = WRONG[case]
    reply = api.http.post("/v1/schedules", json=body(**fields))
    assert reply.status_code == 422, reply.text
    assert pointer in pointers(reply)
    assert playground.value("SELECT count(*) FROM schedules") == 0


def test_one_of_the_rules_is_needed(api: Api) -> None:
    reply = api.http.post("/v1/schedules", json={"name": "s", "task": "add", "args": {"a": 1, "b": 2}})
    assert kind(reply) == (422, "invalid-request")
    assert "one of cron, interval and times" in reply.json()["detail"]


def test_arguments_that_are_too_large_are_refused(api: Api) -> None:
    reply = api.http.post("/v1/schedules", json=body(task="echo", args={"value": "x" * 300_000}))
    assert kind(reply) == (413, "too-large")


def test_a_name_is_one_schedule_s(api: Api) -> None:
    made = make(api)
    reply = api.http.post("/v1/schedules", json=body())
    assert kind(reply) == (409, "schedule-name-taken")
    assert reply.json()["schedule_id"] == made["id"]
    other = make(api, name="other")
    taken = api.http.patch(f"/v1/schedules/{other['id']}", json={"name": "s"})
    assert kind(taken) == (409, "schedule-name-taken")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/preview"),
        ("GET", "/fires"),
        ("GET", "/backfills"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/run"),
        ("POST", "/backfill"),
    ],
)
@pytest.mark.parametrize("schedule_id", [NOBODY, "no-id"])
def test_what_is_not_there_is_not_found(api: Api, method: str, path: str, schedule_id: str) -> None:
    range_ = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}
    sent = {"/backfill": range_, "": {} if method == "PATCH" else None}.get(path)
    assert kind(api.http.request(method, f"/v1/schedules/{schedule_id}{path}", json=sent)) == (
        404,
        "schedule-not-found",
    )


def test_pages_follow_each_other(api: Api) -> None:
    made = [make(api, name=f"s{number}")["id"] for number in range(7)]
    found, cursor = [], None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = api.http.get("/v1/schedules", params=query).json()
        found += [each["id"] for each in page["schedules"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == made[::-1]


def test_each_filter_finds_its_own(api: Api) -> None:
    names: dict[str, dict[str, Any]] = {"a": {}, "b": {"task": "echo", "args": {"value": 1}}, "c": {"paused": True}}
    for name, fields in names.items():
        make(api, name=name, **fields)

    def listed(**query: Any) -> list[str]:
        reply = api.http.get("/v1/schedules", params=query)
        assert reply.status_code == 200, reply.text
        return sorted(each["name"] for each in reply.json()["schedules"])

    assert listed() == ["a", "b", "c"]
    assert listed(name="a") == ["a"]
    assert listed(name=["a", "b"]) == ["a", "b"]
    assert listed(task="echo") == ["b"]
    assert listed(paused="true") == ["c"]
    assert listed(paused="false") == ["a", "b"]
    assert kind(api.http.get("/v1/schedules", params={"colour": "red"})) == (422, "invalid-request")
    assert kind(api.http.get("/v1/schedules", params={"cursor": "x"})) == (422, "invalid-request")


def change(api: Api, schedule: dict[str, Any], fields: dict[str, Any], **headers: str) -> Any:
    return api.http.patch(f"/v1/schedules/{schedule['id']}", json=fields, headers=headers)


def test_a_change_changes_what_is_given_and_no_more(api: Api) -> None:
    made = make(api, starts_at="2020-01-01T00:00:00Z")
    changed = change(api, made, {"args": {"a": 5, "b": 6}, "overlap": "queue"})
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    found = changed.json()
    different = {name for name in MEMBERS if found[name] != made[name]}
    assert different == {"args", "overlap", "version", "updated_at"}
    assert change(api, made, {"starts_at": None}).json()["starts_at"] is None


def test_a_new_rule_takes_the_old_one_s_place(api: Api) -> None:
    made = make(api)
    found = change(api, made, {"interval": 3600}).json()
    assert (found["cron"], found["interval"], found["reading"]) == (None, 3600.0, "Every hour")
    zoned = change(api, change(api, made, {"cron": "0 9 * * *"}).json(), {"timezone": "Asia/Kathmandu"}).json()
    assert zoned["next_fires_local"][0].endswith("T09:00:00+05:45")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"cron": "nonsense"}, "/cron"),
        ({"cron": "@daily", "interval": 60}, "/interval"),
        ({"cron": None}, ""),
        ({"name": None}, "/name"),
        ({"overlap": None}, "/overlap"),
        ({"args": {"a": 1}}, "/args/b"),
        ({"task": "when"}, "/args/day"),
        ({"task": "nobody"}, "/task"),
        ({"id": NOBODY}, "/id"),
        ({"source": "code"}, "/source"),
        ({"ends_at": "2019-01-01T00:00:00Z", "starts_at": "2020-01-01T00:00:00Z"}, "/ends_at"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(api: Api, fields: dict[str, Any], pointer: str) -> None:
    made = make(api)
    reply = change(api, made, fields)
    assert reply.status_code == 422, reply.text
    assert pointer in pointers(reply)
    assert api.http.get(f"/v1/schedules/{made['id']}").json() == made


def test_a_change_holds_for_the_version_that_was_meant(api: Api) -> None:
    made = make(api)
    assert change(api, made, {"queue": "q1"}, **{"If-Match": '"1"'}).status_code == 200
    late = change(api, made, {"queue": "q2"}, **{"If-Match": '"1"'})
    assert kind(late) == (412, "precondition-failed")
    assert late.json()["version"] == 2
    assert change(api, made, {"queue": "q2"}, **{"If-Match": 'W/"2"'}).status_code == 412
    assert change(api, made, {"queue": "q3"}, **{"If-Match": '"1", "2"'}).status_code == 200
    assert change(api, made, {"queue": "q4"}, **{"If-Match": "*"}).status_code == 200
    path = f"/v1/schedules/{made['id']}"
    assert api.http.post(f"{path}/pause", headers={"If-Match": '"1"'}).status_code == 412
    assert api.http.delete(path, headers={"If-Match": '"1"'}).status_code == 412
    assert api.http.get(path).json()["queue"] == "q4"
    assert api.http.delete(path, headers={"If-Match": '"4"'}).status_code == 204


def test_a_deleted_schedule_is_gone_and_its_jobs_stay(api: Api) -> None:
    made = make(api)
    job = api.http.post(f"/v1/schedules/{made['id']}/run").json()
    reply = api.http.delete(f"/v1/schedules/{made['id']}")
    assert (reply.status_code, reply.content) == (204, b"")
    assert kind(api.http.get(f"/v1/schedules/{made['id']}")) == (404, "schedule-not-found")
    assert api.job(job["id"])["schedule_id"] == made["id"]
    assert make(api)["id"] != made["id"]

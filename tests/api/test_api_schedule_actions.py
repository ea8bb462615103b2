"""What can be done with a schedule over HTTP: preview, pause, resume, run, fill back, look back."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from running_api import Api, kind, make_app, pointers
from test_api_schedules import make
from uuid_utils.compat import uuid7

from playground import Playground
from steeple import Settings
from steeple.domain.priority import Lane, Priority
from steeple.domain.schedule import Definition
from steeple.schedule_changes import declare
from steeple.scheduler.firing import fire_backfills, fire_due
from steeple.scheduler.known_tasks import KnownTasks


def post(api: Api, schedule: dict[str, Any], action: str, sent: Any = None) -> Any:
    return api.http.post(f"/v1/schedules/{schedule['id']}/{action}", json=sent)


def test_a_preview_goes_on_for_as_long_as_is_asked(api: Api) -> None:
    made = make(api, timezone="America/New_York")
    path = f"/v1/schedules/{made['id']}/preview"
    shown = api.http.get(path, params={"count": 400}).json()
    assert (len(shown["fires"]), len(shown["fires_local"])) == (400, 400)
    assert shown["fires"][:5] == made["next_fires"]
    assert {each[-14:-6] for each in shown["fires_local"]} <= {"02:30:00", "03:00:00"}
    assert len(api.http.get(path).json()["fires"]) == 10
    assert len(api.http.get(path, params={"count": 5000}).json()["fires"]) == 1000
    assert kind(api.http.get(path, params={"count": 0})) == (422, "invalid-request")


def test_a_rule_can_be_tried_out(api: Api, playground: Playground) -> None:
    rule = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "starts_at": "2027-03-27T12:00:00Z", "count": 2}
    shown = api.http.post("/v1/schedules/preview", json=rule).json()
    assert shown["fires"] == ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]
    assert shown["fires_local"] == ["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"]
    assert pointers(api.http.post("/v1/schedules/preview", json={"cron": "* *"})) == ["/cron"]
    assert playground.value("SELECT count(*) FROM schedules") == 0


def test_a_pause_has_a_note_and_ends(api: Api) -> None:
    made = make(api)
    paused = post(api, made, "pause", {"note": "moving house"})
    assert (paused.status_code, paused.headers["ETag"]) == (200, '"2"')
    assert (paused.json()["paused"], paused.json()["pause_note"]) == (True, "moving house")
    assert post(api, made, "pause", {"note": "moving house"}).json()["version"] == 2
    resumed = post(api, made, "resume").json()
    assert (resumed["paused"], resumed["pause_note"], resumed["next_fires"]) == (False, None, made["next_fires"])
    assert post(api, made, "pause").json()["pause_note"] is None
    assert pointers(post(api, made, "pause", {"why": "x"})) == ["/why"]
    assert pointers(post(api, made, "resume", {"note": "x"})) == ["/note"]


def test_to_run_one_makes_its_job_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[dict[Lane, int]] = []
    monkeypatch.setattr(api.services.wakes, "wake", woken.append)
    made = make(api, priority="high", paused=True)
    reply = post(api, made, "run")
    job = reply.json()
    assert (reply.status_code, reply.headers["Location"]) == (202, f"/v1/jobs/{job['id']}")
    assert (job["schedule_id"], job["args"], job["priority"], job["state"]) == (
        made["id"],
        made["args"],
        "high",
        "PENDING",
    )
    assert woken == [{Lane("default", Priority.HIGH): 1}]
    assert api.job(job["id"]) == job
    (fire,) = api.http.get(f"/v1/schedules/{made['id']}/fires").json()["fires"]
    assert (fire["outcome"], fire["job_id"], fire["why"]) == ("fired", job["id"], "run by hand")
    assert post(api, made, "run").json()["id"] != job["id"]


def test_fires_come_in_pages_the_latest_first(api: Api, playground: Playground) -> None:
    made = make(api, interval=60, overlap="skip")
    start = datetime.fromisoformat(made["created_at"])
    tasks = KnownTasks(make_app(Settings()))
    for minute in range(1, 6):
        with playground.engine.begin() as connection:
            fire_due(connection, tasks, now=start + timedelta(minutes=minute))
    path = f"/v1/schedules/{made['id']}/fires"
    page = api.http.get(path, params={"limit": 3}).json()
    assert [fire["outcome"] for fire in page["fires"]] == ["skipped"] * 3
    rest = api.http.get(path, params={"limit": 3, "before": page["next_before"]}).json()
    assert [fire["outcome"] for fire in rest["fires"]] == ["skipped", "fired"]
    assert rest["next_before"] is None
    times = [datetime.fromisoformat(fire["time"]) for fire in page["fires"] + rest["fires"]]
    assert times == [start + timedelta(minutes=minute) for minute in (5, 4, 3, 2, 1)]


def test_a_backfill_is_worked_off_and_tells_how_far_it_is(api: Api, playground: Playground) -> None:
    made = make(api)
    reply = post(
        api, made, "backfill", {"from": "2026-11-01T00:00:00Z", "to": "2026-11-05T00:00:00Z", "max_running": 3}
    )
    asked = reply.json()
    assert (reply.status_code, asked["total"], asked["waiting"], asked["max_running"]) == (202, 4, 4, 3)
    with playground.engine.begin() as connection:
        fire_backfills(connection, KnownTasks(make_app(Settings())))
    assert playground.value("SELECT count(*) FROM jobs") == 3
    (listed,) = api.http.get(f"/v1/schedules/{made['id']}/backfills").json()["backfills"]
    assert (listed["id"], listed["waiting"], listed["finished_at"]) == (asked["id"], 1, None)
    fires = api.http.get(f"/v1/schedules/{made['id']}/fires").json()["fires"]
    assert [(fire["time"], fire["outcome"]) for fire in fires] == [
        ("2026-11-04T02:30:00Z", "queued"),
        ("2026-11-03T02:30:00Z", "fired"),
        ("2026-11-02T02:30:00Z", "fired"),
        ("2026-11-01T02:30:00Z", "fired"),
    ]
    assert {fire["backfill_id"] for fire in fires} == {asked["id"]}


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        ({"from": "2030-01-01T00:00:00Z", "to": "2030-01-02T00:00:00Z"}, "/from"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "/from"),
        ({"from": "2026-01-01T00:00:00Z"}, "/to"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "max_running": 0}, "/max_running"),
        ({"from": "2026-01-01", "to": "2026-01-02T00:00:00Z"}, "/from"),
        ({"from": "1900-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, "/to"),
    ],
)
def test_a_range_that_cannot_be_is_refused(api: Api, sent: dict[str, Any], pointer: str) -> None:
    reply = post(api, make(api), "backfill", sent)
    assert reply.status_code == 422, reply.text
    assert pointers(reply) == [pointer]
    assert api.http.get("/v1/schedules").json()["schedules"][0]["version"] == 1


def test_one_that_is_declared_in_code_is_changed_there(api: Api, playground: Playground) -> None:
    definition = Definition("books", "add", '{"a": 1, "b": 2}', "default", Priority.DEFAULT, cron="@daily")
    with playground.engine.begin() as connection:
        declare(connection, [(uuid7(), definition)])
    (found,) = api.http.get("/v1/schedules").json()["schedules"]
    assert found["source"] == "code"
    assert kind(api.http.patch(f"/v1/schedules/{found['id']}", json={"cron": "@hourly"})) == (409, "schedule-is-code")
    assert post(api, found, "pause").status_code == 200
    assert post(api, found, "run").status_code == 202
    assert api.http.delete(f"/v1/schedules/{found['id']}").status_code == 204


def test_one_whose_arguments_no_longer_fit_cannot_be_run(api: Api, playground: Playground) -> None:
    made = make(api)
    playground.sql("UPDATE schedules SET args = '{}'")
    assert kind(post(api, made, "run")) == (422, "invalid-arguments")
    playground.sql("UPDATE schedules SET task = 'gone'")
    assert kind(post(api, made, "run")) == (422, "unknown-task")
    assert api.http.get(f"/v1/schedules/{made['id']}/fires").json()["fires"] == []


def test_a_zone_may_be_off_by_half_an_hour(api: Api) -> None:
    made = make(api, timezone="Australia/Lord_Howe")
    assert {each[-6:] for each in made["next_fires_local"]} <= {"+10:30", "+11:00"}

"""The requests about schedules, sent by both drivers to the real API."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from steeple.client import AsyncClient, Client, Conflict, InvalidRequest, NotFound, Outdated, schedules, wire

Send = Callable[[wire.Request[Any]], Any]


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest, installation_url: str) -> Iterator[Send]:
    if request.param == "sync":
        with Client(installation_url) as client:
            yield client.send
        return
    with asyncio.Runner() as loop:
        there = AsyncClient(installation_url)
        yield lambda call: loop.run(there.send(call))
        loop.run(there.close())


def rule(**fields: Any) -> dict[str, Any]:
    return {"name": f"c {uuid4()}", "task": "demo.noop", "cron": "0 0 1 1 *"} | fields


def test_a_schedule_s_life(send: Send) -> None:
    made = send(schedules.create(rule()))
    assert send(schedules.show(made["id"])) == made
    assert send(schedules.page({"name": made["name"]}))["schedules"] == [made]
    assert send(schedules.pause(made["id"], "why not"))["pause_note"] == "why not"
    assert send(schedules.resume(made["id"]))["paused"] is False
    assert len(send(schedules.preview(made["id"], 3))["fires"]) == 3
    job = send(schedules.run(made["id"]))
    assert (job.task, job.schedule_id) == ("demo.noop", made["id"])
    (fire,) = send(schedules.fires(made["id"]))["fires"]
    assert fire["job_id"] == job.id
    span = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    assert send(schedules.backfill(made["id"], *span, 2))["total"] == 2
    assert len(send(schedules.backfills(made["id"]))["backfills"]) == 1
    assert send(schedules.fires(made["id"], before=span[0]))["fires"] == []
    assert send(schedules.delete(made["id"])) is None
    with pytest.raises(NotFound):
        send(schedules.show(made["id"]))


def test_times_and_durations_are_sent_as_the_api_reads_them(send: Send) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    made = send(schedules.create(rule(cron=None, times=[start], starts_at=start)))
    assert (made["times"], made["starts_at"]) == (["2030-01-01T00:00:00Z"], "2030-01-01T00:00:00Z")


def test_a_change_of_an_old_version_is_outdated(send: Send) -> None:
    made = send(schedules.create(rule()))
    changed = send(schedules.update(made["id"], {"queue": "q"}, version=1))
    assert (changed["queue"], changed["version"]) == ("q", 2)
    for late in (schedules.update(made["id"], {"queue": "r"}, version=1), schedules.delete(made["id"], version=1)):
        with pytest.raises(Outdated):
            send(late)
    assert send(schedules.show(made["id"]))["queue"] == "q"


def test_refusals_have_types_of_their_own(send: Send) -> None:
    made = send(schedules.create(rule()))
    with pytest.raises(Conflict):
        send(schedules.create(rule(name=made["name"])))
    with pytest.raises(InvalidRequest) as wrong:
        send(schedules.create(rule(cron="* *")))
    assert [each.pointer for each in wrong.value.errors] == ["/cron"]

"""Requests that wait for the end of a job."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any
from uuid import UUID

import httpx2
import pytest
from running_api import NOBODY, Api, make_app, running

from playground import Playground, end
from steeple import Settings
from steeple.domain.states import State
from steeple.embedded import processes
from steeple.store import transitions


def wait_until(is_so: Callable[[], bool]) -> None:
    assert processes.wait_until(is_so, 20.0)


def waiting(api: Api) -> int:
    """How many requests the API holds."""
    return sum(map(len, api.services.watcher.held().values()))


def cancel(playground: Playground, job_id: UUID) -> None:
    with playground.engine.begin() as connection:
        transitions.cancel(connection, job_id)


def test_a_wait_is_answered_when_the_job_ends(api: Api, playground: Playground) -> None:
    claimant = playground.worker()
    job = playground.running(claimant, now=None)
    with ThreadPoolExecutor() as pool:
        held = pool.submit(api.http.get, f"/v1/jobs/{job.id}?wait=30")
        wait_until(lambda: waiting(api) == 1)
        began = monotonic()
        playground.finish(claimant, end(job, State.SUCCESS), now=None)
        reply = held.result()
    assert (reply.status_code, reply.json()["state"], reply.json()["result"]) == (200, "SUCCESS", "done")
    assert monotonic() - began < 5
    assert waiting(api) == 0


def test_a_wait_that_is_over_shows_the_job_as_it_is(api: Api, playground: Playground) -> None:
    began = monotonic()
    reply = api.http.get(f"/v1/jobs/{playground.add()}?wait=0.3")
    assert (reply.status_code, reply.json()["state"]) == (200, "PENDING")
    assert monotonic() - began >= 0.3


def test_a_job_that_has_ended_is_not_waited_for(api: Api, playground: Playground) -> None:
    job = playground.ended(State.FAILED, now=None)
    assert api.http.get(f"/v1/jobs/{job.id}?wait=60", timeout=10).json()["state"] == "FAILED"


def test_no_such_job_is_not_waited_for(api: Api) -> None:
    assert api.http.get(f"/v1/jobs/{NOBODY}?wait=60", timeout=10).status_code == 404


def test_a_submit_may_prefer_to_wait(api: Api, playground: Playground) -> None:
    with ThreadPoolExecutor() as pool:
        held = pool.submit(
            api.http.post,
            "/v1/jobs",
            json={"task": "add", "args": {"a": 1, "b": 2}},
            headers={"Prefer": "respond-async, wait=30"},
        )
        wait_until(lambda: waiting(api) == 1)
        (job_id,) = api.services.watcher.held()
        cancel(playground, job_id)
        reply = held.result()
    assert (reply.status_code, reply.json()["state"]) == (202, "CANCELLED")
    assert reply.headers["Preference-Applied"] == "wait=30"
    assert reply.headers["Location"] == f"/v1/jobs/{job_id}"


@pytest.mark.parametrize(
    ("preference", "applied"),
    [
        ("wait=0", "wait=0"),
        ('wait="0"', "wait=0"),
        ("WAIT = 0.1", "wait=0.1"),
        ("handling=lenient, wait=0; x=y", "wait=0"),
        ("wait", None),
        ("wait=soon", None),
        ("await=1", None),
        ("respond-async", None),
    ],
)
def test_preferences_are_read_as_rfc_7240_has_them(api: Api, preference: str, applied: str | None) -> None:
    reply = api.http.get(api.submit().headers["Location"], headers={"Prefer": preference})
    assert reply.status_code == 200
    assert reply.headers.get("Preference-Applied") == applied


@pytest.mark.parametrize("wait", ["61", "1e9", "9" * 400])
def test_a_longer_wait_is_cut_to_60_seconds(api: Api, playground: Playground, wait: str) -> None:
    job_id = playground.add()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(api.http.get, f"/v1/jobs/{job_id}", headers={"Prefer": f"wait={wait}"})
        wait_until(lambda: waiting(api) == 1)
        cancel(playground, job_id)
        assert held.result().headers["Preference-Applied"] == "wait=60"


def test_a_client_that_goes_is_no_longer_waited_for(api: Api, playground: Playground) -> None:
    job_id = playground.add()
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"GET /v1/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: waiting(api) == 1)
    wait_until(lambda: waiting(api) == 0)


def test_hundreds_of_waits_cost_one_query_at_a_time(api: Api, playground: Playground, monkeypatch: Any) -> None:
    job_ids = playground.add_many(100)
    queries: list[int] = []
    read = api.services.watcher._read

    async def count(ids: list[UUID]) -> Any:
        queries.append(len(ids))
        return await read(ids)

    monkeypatch.setattr(api.services.watcher, "_read", count)
    limits = httpx2.Limits(max_connections=300)
    with ThreadPoolExecutor(300) as pool, httpx2.Client(base_url=api.url, timeout=60, limits=limits) as client:
        held = [pool.submit(client.get, f"/v1/jobs/{job_id}?wait=60") for job_id in job_ids * 3]
        wait_until(lambda: waiting(api) == 300)
        queries.clear()
        playground.sql("UPDATE jobs SET state = 'CANCELLED', finished_at = now()")
        replies = [each.result() for each in held]
    assert {reply.json()["state"] for reply in replies} == {"CANCELLED"}
    assert max(queries) == 100
    assert len(queries) < 20


def test_nothing_is_asked_while_nobody_waits(api: Api, playground: Playground) -> None:
    api.http.get(f"/v1/jobs/{playground.add()}?wait=0.05")
    wait_until(lambda: api.services.watcher._looking is None)


def test_waits_outlast_a_lost_connection(api: Api, playground: Playground) -> None:
    job_id = playground.add()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(api.http.get, f"/v1/jobs/{job_id}?wait=60")
        wait_until(lambda: waiting(api) == 1)
        playground.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        cancel(playground, job_id)
        assert held.result().json()["state"] == "CANCELLED"


def test_a_server_that_stops_answers_its_waits_at_once(shared_database_url: str, playground: Playground) -> None:
    settings = Settings(database_url=shared_database_url, broker_url=None)
    job_id = playground.add()
    replies: list[httpx2.Response] = []
    with running(settings, make_app(settings)) as api:
        hold = threading.Thread(target=lambda: replies.append(api.http.get(f"/v1/jobs/{job_id}?wait=60")))
        hold.start()
        wait_until(lambda: waiting(api) == 1)
        began = monotonic()
        api.server.should_exit = True
        hold.join()
    assert (replies[0].status_code, replies[0].json()["state"]) == (200, "PENDING")
    assert monotonic() - began < 5

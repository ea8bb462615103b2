"""Problem documents: every refusal is one, whoever made it, and says where to read more."""

import json
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_api import NOBODY, Api, kind, make_app, running, serving

from playground import Playground
from steeple import Settings
from steeple.api.app import create_app
from steeple.api.problem_kinds import Kind
from steeple.embedded.directories import socket_directory
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.store.migrate import upgrade


def test_a_problem_has_the_members_of_rfc_9457_and_its_request_id(api: Api) -> None:
    reply = api.http.get(f"/v1/jobs/{NOBODY}")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json() == {
        "type": "/problems/job-not-found",
        "title": "There is no such job",
        "status": 404,
        "detail": f"no job {NOBODY}",
        "request_id": reply.headers["X-Request-ID"],
    }


@pytest.mark.parametrize("name", list(Kind))
def test_every_type_leads_to_a_page(api: Api, name: Kind) -> None:
    page = api.http.get(name.path)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.search(rf"<h1>{re.escape(name.title)}</h1>", page.text.replace("&#x27;", "'"))
    assert name.path in api.http.get("/problems").text


def test_pages_load_nothing_from_elsewhere(api: Api) -> None:
    for path in ("/", "/docs", "/problems", "/problems/not-json"):
        page = api.http.get(path)
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert not re.search(r"<(script|link|img)|https?://", page.text)


@pytest.mark.parametrize(
    "path",
    ["/nope", "/v1", "/v1/", "/v1/jobs/", "/v1/jobs/x/nope", "/v2/jobs", "/problems/nope", "/redoc", "/%00"],
)
def test_paths_that_are_not_there_are_404(api: Api, path: str) -> None:
    assert kind(api.http.get(path)) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/jobs", "GET, HEAD, POST"),
        ("PUT", f"/v1/jobs/{NOBODY}", "GET, HEAD, PATCH"),
        ("PUT", "/v1/jobs/batch", "GET, HEAD, PATCH, POST"),
        ("GET", f"/v1/jobs/{NOBODY}/cancel", "POST"),
        ("POST", "/v1/tasks", "GET, HEAD"),
        ("POST", "/livez", "GET, HEAD"),
        ("TRACE", "/v1/jobs", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/jobs", "GET, HEAD, POST"),
    ],
)
def test_methods_that_are_not_there_are_405_with_those_that_are(api: Api, method: str, path: str, allowed: str) -> None:
    reply = api.http.request(method, path)
    assert kind(reply) == (405, "method-not-allowed")
    assert reply.headers["Allow"] == allowed


def test_a_request_id_that_can_be_logged_is_kept(api: Api) -> None:
    for sent in ("abc", "a-b_c.d:1", "x" * 128):
        assert api.http.get("/livez", headers={"X-Request-ID": sent}).headers["X-Request-ID"] == sent
    for sent in ("", "a b", "x" * 129, "<b>", "a\\n"):
        found = api.http.get("/livez", headers={"X-Request-ID": sent}).headers["X-Request-ID"]
        assert found != sent
        assert re.fullmatch(r"[0-9a-f-]{36}", found)


def test_request_ids_differ(api: Api) -> None:
    assert len({api.http.get("/livez").headers["X-Request-ID"] for _ in range(10)}) == 10


def test_a_fault_of_ours_is_500_without_its_traceback_which_is_in_the_log(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise LookupError("a secret of ours")

    monkeypatch.setattr(api.services.tasks, "all", fail)
    with caplog.at_level(logging.ERROR):
        reply = api.http.get("/v1/tasks")
    assert kind(reply) == (500, "internal-error")
    assert "secret" not in reply.text
    assert reply.headers["X-Request-ID"] in caplog.text
    assert "LookupError('a secret of ours')" in caplog.text
    assert api.http.get("/v1/queues").status_code == 200


def exchange(api: Api, request: bytes) -> tuple[str, bytes]:
    """What a raw request is answered with: head and body."""
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode(), body


@pytest.mark.parametrize(
    "request_text",
    [
        b"what is this\r\n\r\n",
        b"GET /v1/jobs HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX: \x7f\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_a_400_problem(api: Api, request_text: bytes) -> None:
    head, body = exchange(api, request_text)
    assert head.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert "content-type: application/problem+json" in head
    assert json.loads(body)["type"] == "/problems/bad-request"


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /v1/jobs HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(100)),
        b"GET /v1/jobs?q=" + b"x" * 100_000,
    ],
    ids=["many headers", "a long path"],
)
def test_endless_headers_are_a_431_problem(api: Api, request_text: bytes) -> None:
    head, body = exchange(api, request_text)
    assert head.startswith("HTTP/1.1 431 ")
    assert json.loads(body)["type"] == "/problems/headers-too-large"


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(api: Api) -> None:
    length = api.services.settings.max_body_bytes + 1
    head, body = exchange(
        api,
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % length,
    )
    assert head.startswith("HTTP/1.1 413 ")
    assert json.loads(body)["type"] == "/problems/too-large"


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[tuple[Api, EmbeddedPostgres]]:
    """An API with a database server of its own, to be stopped."""
    sockets = socket_directory(tmp_path / "pg")
    with EmbeddedPostgres(tmp_path / "pg", sockets, fast=True) as postgres:
        url = postgres.url("postgres")
        upgrade(url)
        settings = Settings(database_url=url, broker_url=None)
        with running(settings, make_app(settings)) as api:
            yield api, postgres
    sockets.rmdir()


def test_a_database_that_is_away_is_503_until_it_is_back(lonely: tuple[Api, EmbeddedPostgres]) -> None:
    api, postgres = lonely
    job_id = api.submit().json()["id"]
    assert api.http.get("/readyz").status_code == 200
    postgres.stop()
    for reply in (
        api.submit(),
        api.http.get(f"/v1/jobs/{job_id}"),
        api.http.get("/v1/jobs"),
        api.http.post(f"/v1/jobs/{job_id}/cancel"),
        api.http.get("/v1/queues"),
        api.http.get("/metrics"),
        api.post('{"jobs": [{"task": "add", "args": {"a": 1, "b": 2}}]}', "/v1/jobs/batch"),
    ):
        assert kind(reply) == (503, "unavailable")
        assert int(reply.headers["Retry-After"]) > 0
        assert "Traceback" not in reply.text
    assert api.http.get("/livez").status_code == 200
    postgres.start()
    assert api.submit().status_code == 202
    assert api.job(job_id)["state"] == "PENDING"


def test_a_database_without_the_schema_is_503(empty_database_url: str) -> None:
    settings = Settings(database_url=empty_database_url, broker_url=None)
    with serving(create_app(make_app(settings), settings)) as api:
        assert kind(api.submit()) == (503, "unavailable")
        ready = api.http.get("/readyz")
        assert kind(ready) == (503, "unavailable")
        assert "steeple db upgrade" in ready.json()["detail"]


def test_readiness_follows_the_schema(api: Api, playground: Playground) -> None:
    ready = api.http.get("/readyz").json()
    assert (ready["status"], ready["database"], ready["broker"]) == ("ready", "ok", "none")
    assert ready["schema"] == playground.value("SELECT version_num FROM steeple_schema")

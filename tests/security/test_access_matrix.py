"""Every operation that the app has against every way of not being allowed: 401 or 403, the same words, nothing done."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from running_api import NOBODY, Api, make_app, running
from starlette.routing import Route
from uuid_utils.compat import uuid7

from playground import Playground
from steeple import Settings
from steeple.api.app import create_app
from steeple.domain.priority import Priority
from steeple.domain.schedule import Definition
from steeple.domain.states import State
from steeple.schedule_changes import create
from steeple.store.keys import Scope, create_key, revoke_key

PUBLIC = {
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/problems"),
    ("GET", "/problems/{name}"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
}
"""What needs no key: pages and probes."""

OPERATION = "019ab4c9-51aa-7b1f-9a0e-7c9d4e2f6b13"
"""The id of the one that is there."""

JOB = {"task": "add", "args": {"a": 1, "b": 2}}
SCHEDULE = {"name": "new", **JOB, "cron": "@daily"}
PAST = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-03T00:00:00Z"}
NOWHERE = Settings(database_url="postgresql://nobody@nowhere/none", broker_url=None)


@dataclass(frozen=True)
class Row:
    """A request that is right in everything but its key; ``of`` is the state of the job that it is about, which is the
    only one of its flow."""

    scope: Scope
    body: dict[str, Any] | None = None
    of: State = State.PENDING


ROWS = {
    ("POST", "/v1/jobs"): Row(Scope.WRITE, JOB),
    ("POST", "/v1/jobs/batch"): Row(Scope.WRITE, {"jobs": [JOB, JOB]}),
    ("POST", "/v1/jobs/{job_id}/cancel"): Row(Scope.WRITE),
    ("POST", "/v1/jobs/{job_id}/retry"): Row(Scope.WRITE, of=State.FAILED),
    ("PATCH", "/v1/jobs/{job_id}"): Row(Scope.WRITE, {"priority": "high"}),
    ("GET", "/v1/jobs"): Row(Scope.READ),
    ("GET", "/v1/jobs/{job_id}"): Row(Scope.READ),
    ("GET", "/v1/jobs/{job_id}/attempts"): Row(Scope.READ),
    ("GET", "/v1/jobs/{job_id}/logs"): Row(Scope.READ),
    ("GET", "/v1/schedules"): Row(Scope.READ),
    ("POST", "/v1/schedules"): Row(Scope.WRITE, SCHEDULE),
    ("POST", "/v1/schedules/preview"): Row(Scope.READ, {"cron": "@daily"}),
    ("GET", "/v1/schedules/{schedule_id}"): Row(Scope.READ),
    ("PATCH", "/v1/schedules/{schedule_id}"): Row(Scope.WRITE, {"cron": "@hourly"}),
    ("DELETE", "/v1/schedules/{schedule_id}"): Row(Scope.WRITE),
    ("GET", "/v1/schedules/{schedule_id}/preview"): Row(Scope.READ),
    ("GET", "/v1/schedules/{schedule_id}/fires"): Row(Scope.READ),
    ("POST", "/v1/schedules/{schedule_id}/pause"): Row(Scope.WRITE),
    ("POST", "/v1/schedules/{schedule_id}/resume"): Row(Scope.WRITE),
    ("POST", "/v1/schedules/{schedule_id}/run"): Row(Scope.WRITE),
    ("POST", "/v1/schedules/{schedule_id}/backfill"): Row(Scope.WRITE, PAST),
    ("GET", "/v1/schedules/{schedule_id}/backfills"): Row(Scope.READ),
    ("POST", "/v1/operations"): Row(Scope.WRITE, {"action": "cancel", "filter": {"task": "t"}}),
    ("GET", "/v1/operations"): Row(Scope.READ),
    ("GET", "/v1/operations/{operation_id}"): Row(Scope.READ),
    ("POST", "/v1/operations/{operation_id}/abort"): Row(Scope.WRITE),
    ("GET", "/v1/flows/{flow_id}"): Row(Scope.READ),
    ("POST", "/v1/flows/{flow_id}/cancel"): Row(Scope.WRITE),
    ("POST", "/v1/flows/{flow_id}/retry"): Row(Scope.WRITE, of=State.FAILED),
    ("GET", "/v1/jobs/{job_id}/why"): Row(Scope.READ),
    ("GET", "/v1/limits"): Row(Scope.READ),
    ("GET", "/v1/limits/{key:path}"): Row(Scope.READ),
    ("PUT", "/v1/limits/{key:path}"): Row(Scope.WRITE, {"max_running": 2}),
    ("DELETE", "/v1/limits/{key:path}"): Row(Scope.WRITE),
    ("GET", "/v1/weights"): Row(Scope.READ),
    ("PUT", "/v1/weights/{fair_key:path}"): Row(Scope.WRITE, {"weight": 2.0}),
    ("DELETE", "/v1/weights/{fair_key:path}"): Row(Scope.WRITE),
    ("GET", "/v1/tasks"): Row(Scope.READ),
    ("GET", "/v1/queues"): Row(Scope.READ),
    ("GET", "/v1/queues/{name}"): Row(Scope.READ),
    ("POST", "/v1/queues/{name}/pause"): Row(Scope.WRITE, {"note": "why"}),
    ("POST", "/v1/queues/{name}/drain"): Row(Scope.WRITE, {}),
    ("POST", "/v1/queues/{name}/resume"): Row(Scope.WRITE),
    ("POST", "/v1/queues/{name}/purge"): Row(Scope.WRITE, {"dry_run": False}),
    ("PATCH", "/v1/queues/{name}"): Row(Scope.WRITE, {"retention": 60.0}),
    ("GET", "/v1/workers"): Row(Scope.READ),
    ("GET", "/metrics"): Row(Scope.READ),
}


def operations() -> set[tuple[str, str]]:
    """Method and path of each route that there is, described or not."""
    routes = [route for route in create_app(make_app(NOWHERE), NOWHERE).routes if isinstance(route, Route)]
    return {(method, route.path) for route in routes for method in (route.methods or set()) - {"HEAD"}}


def test_every_operation_has_a_row_or_is_public_by_name() -> None:
    assert operations() == set(ROWS) | PUBLIC


@dataclass(frozen=True)
class Stage:
    """A server that wants keys. ``refused`` are those that are never enough, by what they lack."""

    api: Api
    playground: Playground
    refused: dict[str, bytes | None]
    reader: bytes
    scopeless: bytes
    admin: bytes

    def ask(self, operation: tuple[str, str], about: object, authorization: bytes | None) -> httpx2.Response:
        """``about`` is the id of a job or a schedule."""
        method, path = operation
        headers = [] if authorization is None else [(b"Authorization", authorization)]
        body = ROWS[operation].body
        return self.api.http.request(method, self.path(path, about), json=body, headers=headers)

    def path(self, pattern: str, about: object) -> str:
        queue = self.playground.value("SELECT max(queue) FROM jobs WHERE id = :id", id=about) or "q"
        pattern = pattern.replace("{key:path}", "k").replace("{fair_key:path}", "k")
        return pattern.format(job_id=about, schedule_id=about, operation_id=OPERATION, flow_id=about, name=queue)

    def everything(self) -> list[object]:
        """All that a call could have changed."""
        jobs = self.playground.sql("SELECT CAST(to_jsonb(jobs) AS text) FROM jobs ORDER BY id")
        made = self.playground.sql("SELECT CAST(to_jsonb(operations) AS text) FROM operations ORDER BY id")
        queues = self.playground.sql("SELECT CAST(to_jsonb(queues) AS text) FROM queues ORDER BY name")
        limits = self.playground.sql("SELECT key, max_running FROM limits")
        weights = self.playground.sql("SELECT fair_key, weight FROM weights")
        rest = (
            "SELECT (SELECT count(*) FROM api_keys), (SELECT count(*) FROM attempts), (SELECT count(*) FROM job_logs)"
        )
        schedules = self.playground.sql("SELECT CAST(to_jsonb(schedules) AS text) FROM schedules ORDER BY id")
        fires = self.playground.sql("SELECT CAST(to_jsonb(fires) AS text) FROM fires ORDER BY schedule_id, time")
        return [
            *map(tuple, [*jobs, *made, *queues, *limits, *weights, *schedules, *fires]),
            *map(tuple, self.playground.sql(rest)),
        ]

    def about(self, operation: tuple[str, str]) -> object:
        """What the request is about, new: a job, or a schedule."""
        return self.schedule(operation) if "{schedule_id}" in operation[1] else self.job(ROWS[operation].of)

    def schedule(self, operation: tuple[str, str]) -> object:
        definition = Definition(str(uuid7()), "anything", "{}", "default", Priority.DEFAULT, cron="@daily")
        paused = operation[1].endswith("/resume")
        with self.playground.engine.begin() as connection:
            return create(connection, uuid7(), definition, paused=paused).id

    def job(self, state: State) -> object:
        """A job in this state, in a queue of its own, which is paused; an operation that has not begun; a limit."""
        self.playground.sql("DELETE FROM limits")
        self.playground.sql("INSERT INTO limits (key, max_running) VALUES ('k', 1)")
        self.playground.sql("DELETE FROM weights")
        self.playground.sql("INSERT INTO weights (fair_key, weight) VALUES ('k', 1.5)")
        self.playground.sql("DELETE FROM operations")
        self.playground.sql("INSERT INTO operations (id, action, filter) VALUES (:id, 'cancel', '{}')", id=OPERATION)
        queue = f"q{self.playground.value('SELECT count(*) FROM jobs')}"
        if state is State.PENDING:
            job_id = self.playground.add(queue=queue, delay=3600.0, now=None)
        else:
            job_id = self.playground.ended(state, queue=queue, now=None).id
        self.playground.sql("INSERT INTO queues (name, paused_at) VALUES (:name, now())", name=queue)
        self.playground.sql("UPDATE jobs SET flow_id = id WHERE id = :id", id=job_id)
        return job_id


def bearer(key: str) -> bytes:
    return f"Bearer {key}".encode()


@pytest.fixture(scope="module")
def stage(shared_database_url: str) -> Iterator[Stage]:
    playground = Playground(shared_database_url)
    with playground.engine.begin() as connection:
        keys = {
            name: create_key(connection, name, scopes)
            for name, scopes in {
                "revoked": [Scope.ADMIN],
                "read": [Scope.READ],
                "none": [],
                "admin": [Scope.ADMIN],
            }.items()
        }
        assert revoke_key(connection, keys["revoked"].id)
    good = keys["admin"].key
    refused = {
        "no key": None,
        "an empty header": b"",
        "a scheme alone": b"Bearer",
        "no scheme": good.encode(),
        "another scheme": f"Basic {good}".encode(),
        "more after the key": bearer(f"{good} x"),
        "a part of a key": bearer(good[:-1]),
        "a key in capitals": bearer(good.upper()),
        "bytes that are no text": b"Bearer \xff\xfe",
        "a key without an end": bearer("x" * 5000),
        "a key that nobody made": bearer("stpl_" + "9" * 43),
        "a revoked key": bearer(keys["revoked"].key),
    }
    settings = Settings(database_url=shared_database_url, broker_url=None)
    with running(settings, make_app(settings)) as api:
        yield Stage(api, playground, refused, bearer(keys["read"].key), bearer(keys["none"].key), bearer(good))
    playground.close()


UNAUTHORIZED = {
    "type": "/problems/unauthorized",
    "title": "A valid API key is needed",
    "status": 401,
    "detail": "no valid API key came with the request",
}


def forbidden(scope: Scope) -> dict[str, object]:
    return {
        "type": "/problems/forbidden",
        "title": "The API key does not allow this",
        "status": 403,
        "detail": f"this needs a key with the scope {scope.value}",
    }


def words(reply: httpx2.Response) -> dict[str, object]:
    """The problem, without the request's own id."""
    assert reply.headers["Content-Type"] == "application/problem+json"
    found: dict[str, object] = reply.json()
    assert found.pop("request_id") == reply.headers["X-Request-ID"]
    return found


@pytest.mark.parametrize("operation", ROWS, ids=" ".join)
def test_without_a_valid_key_nothing_is_done_and_nothing_is_told(stage: Stage, operation: tuple[str, str]) -> None:
    about = stage.about(operation)
    before = stage.everything()
    for way, authorization in stage.refused.items():
        reply = stage.ask(operation, about, authorization)
        assert words(reply) == UNAUTHORIZED, way
        assert reply.headers["WWW-Authenticate"] == "Bearer", way
    assert stage.everything() == before


@pytest.mark.parametrize("operation", ROWS, ids=" ".join)
def test_with_too_small_a_scope_nothing_is_done(stage: Stage, operation: tuple[str, str]) -> None:
    row = ROWS[operation]
    about = stage.about(operation)
    before = stage.everything()
    for key in [stage.scopeless] + [stage.reader] * (row.scope is Scope.WRITE):
        assert words(stage.ask(operation, about, key)) == forbidden(row.scope)
    assert stage.everything() == before


@pytest.mark.parametrize("operation", ROWS, ids=" ".join)
def test_with_the_right_key_the_same_request_is_served(stage: Stage, operation: tuple[str, str]) -> None:
    """Or else the refusals would show nothing."""
    row = ROWS[operation]
    about = stage.about(operation)
    before = stage.everything()
    reply = stage.ask(operation, about, stage.admin if row.scope is Scope.WRITE else stage.reader)
    assert reply.status_code in (200, 201, 202, 204), reply.text
    assert (stage.everything() != before) == (row.scope is Scope.WRITE)


@pytest.mark.parametrize("operation", [each for each in ROWS if each[0] == "GET"], ids=" ".join)
def test_a_head_tells_no_more_than_a_get(stage: Stage, operation: tuple[str, str]) -> None:
    reply = stage.api.http.head(stage.path(operation[1], stage.about(operation)))
    assert (reply.status_code, reply.content) == (401, b"")


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("GET", f"/v1/jobs/{NOBODY}", b""),
        ("GET", "/v1/jobs/no-id", b""),
        ("GET", "/v1/jobs?colour=red&limit=0&limit=0", b""),
        ("POST", "/v1/jobs", b"{"),
        ("POST", "/v1/jobs?x=1", b"\xff"),
        ("POST", "/v1/jobs/batch", b"[]"),
        ("POST", "/v1/schedules", b"{"),
        ("DELETE", f"/v1/schedules/{NOBODY}", b""),
        ("POST", f"/v1/jobs/{NOBODY}/cancel", b"x"),
        ("PATCH", f"/v1/jobs/{NOBODY}", b"null"),
        ("POST", "/v1/queues/-/purge", b"x"),
    ],
)
def test_nothing_of_a_request_is_looked_at_before_its_key(stage: Stage, method: str, path: str, content: bytes) -> None:
    assert words(stage.api.http.request(method, path, content=content)) == UNAUTHORIZED


@pytest.mark.parametrize("operation", sorted(PUBLIC), ids=" ".join)
def test_what_is_public_needs_no_key(stage: Stage, operation: tuple[str, str]) -> None:
    assert stage.api.http.get(operation[1].format(name="unauthorized")).status_code == 200

"""Secrets with a mark in them: whatever goes wrong, the mark is seen in no log, reply, error row or message."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
import redis
from installed_parts import APP, PATIENCE, installed
from marked_secrets import (
    BROKER_PASSWORD,
    DATABASE_PASSWORD,
    IDEMPOTENCY_KEY,
    KEY,
    MARK,
    WRONG_PASSWORD,
    Locked,
    Scene,
)
from security_tasks import OWN_WORDS

from parts import free_port
from steeple.embedded.processes import wait_until

_FAILING_TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    locked = Locked(tmp_path_factory.mktemp("locked"))
    addresses = {"STEEPLE_DATABASE_URL": locked.database_url(), "STEEPLE_BROKER_URL": locked.broker_url()}
    try:
        with installed(tmp_path_factory.mktemp("scene"), STEEPLE_BOOTSTRAP_API_KEY=KEY, **addresses) as parts:
            yield Scene(locked, parts, parts.start_all())
    finally:
        locked.close()


@pytest.fixture(autouse=True)
def unseen(scene: Scene) -> Iterator[None]:
    """Ends every test here with a look at everything there is by then."""
    yield
    assert scene.runs_jobs()
    scene.assert_unseen()


def test_the_servers_want_the_passwords(scene: Scene) -> None:
    assert scene.runs_jobs()
    scene.wait_said("slot_started")  # told to those only who want to know it all
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(scene.locked.database_url(WRONG_PASSWORD))
    with redis.Redis.from_url(scene.locked.broker_url(WRONG_PASSWORD)) as client, pytest.raises(redis.RedisError):
        client.ping()


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer stpl_{MARK}-nobodys",
        f"Bearer {MARK}",
        f"Basic {MARK}",
        f"{MARK}",
        f"Bearer {MARK * 200}",
        f"Digest username={MARK}, response={MARK}",
    ],
)
def test_headers_that_are_refused(scene: Scene, authorization: str) -> None:
    headers = {"Authorization": authorization, "Idempotency-Key": IDEMPOTENCY_KEY, "Cookie": f"session={MARK}"}
    reply = scene.api.ask("POST", "/v1/jobs", json={"task": "security.echo", "args": {}}, headers=headers)
    assert reply.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/jobs", b"{", 400),
        ("POST", "/v1/jobs", b'{"task": "nope", "args": {}}', 422),
        ("POST", "/v1/jobs", b'{"task": "security.echo", "args": {"colour": 1}}', 422),
        ("POST", "/v1/jobs", b'{"task": "security.echo", "args": {"value": 1}}', 422),
        ("POST", "/v1/jobs/batch", b'{"jobs": [{}]}', 422),
        ("GET", f"/v1/jobs?api_key={KEY}", b"", 422),
        ("GET", f"/v1/jobs?limit={KEY}", b"", 422),
        ("DELETE", "/v1/jobs", b"", 405),
        ("GET", "/nowhere", b"", 404),
    ],
)
def test_requests_that_are_refused(scene: Scene, method: str, path: str, content: bytes, status: int) -> None:
    """Under an idempotency key that another request has used."""
    headers = {"Idempotency-Key": IDEMPOTENCY_KEY, "Content-Type": "application/json"}
    first = {"task": "security.echo", "args": {}}
    assert scene.api.ask("POST", "/v1/jobs", json=first, headers=headers).status_code == 202
    assert scene.api.ask(method, path, content=content, headers=headers).status_code == status


def test_a_task_that_fails(scene: Scene) -> None:
    job = scene.api.ended(scene.api.submit("security.fail"))
    assert job["error"]["message"] == OWN_WORDS
    assert scene.api.ask("GET", f"/v1/jobs/{job['id']}/attempts").json()["attempts"][0]["error"] == job["error"]
    scene.wait_said(OWN_WORDS)


def test_a_fault_inside_the_api(scene: Scene) -> None:
    """The database refuses for a reason of its own, with the request at hand."""
    scene.locked.query(_FAILING_TRIGGER, "guarded")
    try:
        headers = {"Idempotency-Key": f"{IDEMPOTENCY_KEY}-2"}
        for path, body in (("/v1/jobs", _job()), ("/v1/jobs/batch", {"jobs": [_job(), _job()]})):
            assert scene.api.ask("POST", path, json=body, headers=headers).status_code == 500
    finally:
        scene.locked.query("DROP FUNCTION refuse() CASCADE", "guarded")
    scene.wait_said("request_failed", 2)
    scene.wait_said("not today", 2)


def _job() -> dict[str, object]:
    return {"task": "security.echo", "args": {"value": MARK[::-1]}}


def test_a_database_that_is_away(scene: Scene) -> None:
    scene.locked.postgres.stop()
    try:
        headers = {"Idempotency-Key": f"{IDEMPOTENCY_KEY}-3"}
        for method, path in (("GET", "/v1/jobs"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/v1/queues")):
            assert scene.api.ask(method, path).status_code == 503
        assert scene.api.ask("POST", "/v1/jobs", json=_job(), headers=headers).status_code == 503
        scene.wait_said("trouble_began")
        scene.wait_said("database_failed")
        for words in (["doctor"], ["keys", "list"], ["db", "upgrade"]):
            assert scene.run_here(*words)
        assert "the database does not answer" in scene.run("worker", APP)
    finally:
        scene.locked.postgres.start()
    assert wait_until(scene.api.is_ready, PATIENCE)


def test_a_database_password_that_was_changed(scene: Scene) -> None:
    scene.locked.query(f"ALTER ROLE guarded PASSWORD '{WRONG_PASSWORD}'")
    try:
        scene.locked.lines[0].cut()
        assert wait_until(lambda: scene.api.ask("GET", "/v1/jobs").status_code == 503, PATIENCE)
        scene.wait_said("password authentication failed")
        for words in (["doctor"], ["keys", "list"], ["db", "upgrade"]):
            assert "password authentication failed" in scene.run_here(*words)
        for words in (["api"], ["scheduler"], ["worker", APP]):
            assert "password authentication failed" in scene.run(*words)
    finally:
        scene.locked.query(f"ALTER ROLE guarded PASSWORD '{DATABASE_PASSWORD}'")
    assert wait_until(scene.api.is_ready, PATIENCE)


def test_a_broker_that_is_away(scene: Scene) -> None:
    scene.locked.valkey.stop()
    try:
        scene.api.submit("security.echo")
        scene.wait_said("broker_(lost|away)")
        assert "Connection refused" in scene.run("doctor") or "broker\tfault" in scene.printed[-1]
    finally:
        scene.locked.restart_valkey()


def test_a_broker_password_that_was_changed(scene: Scene) -> None:
    scene.locked.lock_valkey(WRONG_PASSWORD, BROKER_PASSWORD)
    try:
        scene.api.submit("security.echo")
        scene.wait_said("AuthenticationError|invalid username-password")
        assert "broker\tfault" in scene.run("doctor")
    finally:
        scene.locked.restart_valkey()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://guarded:{DATABASE_PASSWORD}@127.0.0.1/guarded",
        f"postgresql://guarded:{MARK}@127.0.0.1:{MARK}/guarded",
        f"postgresql://guarded:{MARK}@no.such.host.invalid/guarded",
        f"postgresql://guarded:{MARK}@127.0.0.1:1/guarded",
        f"postgresql://127.0.0.1:1/guarded?user=guarded&password={MARK}",
        f"postgresql://guarded:{MARK}@127.0.0.1:1/guarded?sslmode=wrong",
        f"mysql://guarded:{MARK}@127.0.0.1/guarded",
        f"guarded:{MARK}@127.0.0.1/guarded",
        f"{MARK}",
    ],
)
def test_database_urls_that_are_wrong(scene: Scene, url: str) -> None:
    for words in (["doctor"], ["db", "upgrade"], ["keys", "list"]):
        assert "Traceback" not in scene.run_here(*words, STEEPLE_DATABASE_URL=url)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{BROKER_PASSWORD}@127.0.0.1:6379/0",
        f"redis://:{MARK}@127.0.0.1:{MARK}/0",
        f"redis://:{MARK}@127.0.0.1:1/{MARK}",
        f"redis://:{MARK}@no.such.host.invalid/0",
        f"amqp://guest:{MARK}@127.0.0.1:1//",
        f"nothing://user:{MARK}@127.0.0.1/0",
        f"{MARK}",
    ],
)
def test_broker_urls_that_are_wrong(scene: Scene, url: str) -> None:
    assert "Traceback" not in scene.run_here("doctor", STEEPLE_BROKER_URL=url)


@pytest.mark.soak
def test_a_broker_url_that_is_wrong_in_the_parts(scene: Scene) -> None:
    for url in (f"redis://:{MARK}@127.0.0.1:1/0", f"redis://:{BROKER_PASSWORD}@127.0.0.1:6379/0"):
        parts = [scene.parts.start(*words, STEEPLE_BROKER_URL=url) for words in (["scheduler"], ["worker", APP])]
        parts.append(scene.parts.start("api", "--port", str(free_port()), STEEPLE_BROKER_URL=url))
        assert wait_until(lambda: all(part.said for part in parts), PATIENCE)  # noqa: B023 - called here and now
        for part in parts:
            if part.is_running:
                part.kill()


@pytest.mark.parametrize(
    "url", ["http://user:{mark}@127.0.0.1:1", "http://{mark}@127.0.0.1:1", "{mark}", "ftp://{mark}@x"]
)
def test_api_urls_that_are_wrong(scene: Scene, url: str) -> None:
    assert scene.run_here("jobs", "list", STEEPLE_URL=url.format(mark=MARK), STEEPLE_API_KEY=KEY)


@pytest.mark.parametrize("key", [f"stpl_{MARK}", f"{MARK}\u00e9", f"{MARK}\nX: y", f"{MARK} x"])
def test_keys_that_the_client_or_the_api_refuses(scene: Scene, key: str) -> None:
    for words in (["jobs", "list"], ["jobs", "submit", "security.echo", "--idempotency-key", IDEMPOTENCY_KEY]):
        assert "error" in scene.run_here(*words, STEEPLE_URL=scene.api.url, STEEPLE_API_KEY=key)
    assert "error" in scene.run("api", "--port", "0", STEEPLE_BOOTSTRAP_API_KEY=MARK)


def test_settings_that_are_wrong_beside_secrets(scene: Scene) -> None:
    found = scene.run_here("scheduler", STEEPLE_HEARTBEAT_INTERVAL="often", STEEPLE_LOG_LEVEL="LOUD")
    assert "STEEPLE_HEARTBEAT_INTERVAL" in found


@pytest.mark.soak
def test_everything_on_one_machine(scene: Scene, tmp_path: Path) -> None:
    """What ``steeple up`` says from its start to its end, with secrets in the environment that are meant for others."""
    port = str(free_port())
    up = scene.parts.start("up", "--port", port, "--slots", "1", "--data-dir", str(tmp_path / "data"))
    assert wait_until(lambda: "ready http" in up.said or not up.is_running, 2 * PATIENCE), up.said
    assert "ready http" in up.said, up.said
    reply = httpx2.get(f"http://127.0.0.1:{port}/v1/jobs", headers={"Authorization": f"Bearer {MARK}"}, trust_env=False)
    assert (reply.status_code, MARK in reply.text) == (401, False)
    up.send(signal.SIGTERM)
    up.process.wait(PATIENCE)


def test_the_mark_would_be_seen(scene: Scene) -> None:
    """Or else these tests would show nothing."""
    assert json.loads(scene.locked.query("SELECT CAST(to_jsonb(jobs) AS text) FROM jobs LIMIT 1", "guarded")[0][0])  # type: ignore[arg-type]
    scene.printed.append(f"postgresql://guarded:{DATABASE_PASSWORD}@127.0.0.1/guarded")
    with pytest.raises(AssertionError):
        scene.assert_unseen()

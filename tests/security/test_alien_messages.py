"""What others put into the broker or the database runs nothing: only the registry of tasks leads to code."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
import yaml
from installed_parts import PATIENCE, Api, Parts, installed
from kombu import Connection
from kombu.pools import producers

from servers import database, libpq_url
from steeple import Settings
from steeple.broker.celery_app import WAKE_TASK, make_celery, queue_name
from steeple.domain.priority import Lane, Priority
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.processes import wait_until
from steeple.embedded.valkey import EmbeddedValkey

_BROKER_DATABASE = 62
"""Of all tests of this file; others have it before and after."""

LANE = queue_name(Lane(None, Priority.DEFAULT))

BUILTINS = [
    "celery.accumulate",
    "celery.backend_cleanup",
    "celery.chain",
    "celery.chord",
    "celery.chord_unlock",
    "celery.chunks",
    "celery.group",
    "celery.map",
    "celery.starmap",
]

NAMES = [
    "os.system",
    "subprocess.run",
    "builtins.eval",
    "__class__",
    "__class__.__init__.__globals__",
    "__import__",
    "steeple.cli:main",
    "steeple.demo.tasks:app",
    "security_tasks:app",
    "security_tasks.echo",
    "security.echo.__wrapped__",
    "celery.backend_cleanup",
    "steeple.wake",
    "../../../bin/sh",
    "security.echo; import os",
    "",
]
"""Of tasks that nobody registered, though there is something behind some of them."""

_IN_ROWS = ("os.system", "steeple.cli:main", "security.echo.__wrapped__")
"""A slot that met a stranger shuns others for 5 s, so each takes its time."""


class Touch:
    """Reading a pickle of it makes the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


class Attacker:
    """Somebody who may write to the broker, and to the table of jobs."""

    def __init__(self, database_url: str, broker_url: str) -> None:
        self._database_url = libpq_url(database_url)
        self._broker_url = broker_url
        self.sent = 0

    def query(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def publish(self, body: bytes | str, content_type: str, encoding: str = "binary", **headers: Any) -> None:
        """A message as it is, to where wake-ups go."""
        with Connection(self._broker_url) as connection, producers[connection].acquire() as producer:
            producer.publish(body, LANE, content_type=content_type, content_encoding=encoding, headers=headers)
        self.sent += 1

    def send_task(self, name: str, *arguments: Any, **keywords: Any) -> None:
        celery = make_celery(Settings(broker_url=self._broker_url))
        celery.send_task(name, args=arguments, kwargs=keywords, queue=celery.amqp.queues.select_add(LANE))
        self.sent += 1

    def broadcast(self, command: str) -> int:
        """A command of Celery's remote control; how many heard it."""
        celery = make_celery(Settings(broker_url=self._broker_url))
        return len(celery.control.broadcast(command, reply=True, timeout=1.0, limit=1) or [])

    def dropped(self) -> int:
        ((value,),) = self.query("SELECT COALESCE(sum(value), 0) FROM counters WHERE name = 'dropped_wake_ups'")
        return int(str(value))

    def insert_job(self, task: str) -> str:
        """Past every check."""
        job_id = str(uuid4())
        self.query(
            "INSERT INTO jobs (id, task, args, queue, priority, run_at, timeout, max_attempts)"
            " VALUES (%s, %s, %s, 'default', 1, now() - interval '1 min', 60, 1)",
            job_id,
            task,
            json.dumps({"command": "true", "value": 1}),
        )
        return job_id


@pytest.fixture(scope="module")
def parts(
    postgres: EmbeddedPostgres, template: str, valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Parts]:
    with redis.Redis(unix_socket_path=str(valkey.socket_path), db=_BROKER_DATABASE) as client:
        client.flushdb()
    with database(postgres, "attacked", template) as url:
        addresses = {"STEEPLE_DATABASE_URL": url, "STEEPLE_BROKER_URL": valkey.url(_BROKER_DATABASE)}
        with installed(tmp_path_factory.mktemp("attacked"), **addresses) as found:
            yield found


@pytest.fixture(scope="module")
def attacker(parts: Parts) -> Attacker:
    return Attacker(parts.environment["STEEPLE_DATABASE_URL"], parts.environment["STEEPLE_BROKER_URL"])


@pytest.fixture(scope="module")
def api(parts: Parts) -> Api:
    return parts.start_all()


def assert_all_refused(parts: Parts, api: Api, attacker: Attacker) -> None:
    """Every message was counted, and the same worker goes on."""
    assert wait_until(lambda: attacker.dropped() == attacker.sent, PATIENCE), (
        attacker.dropped(),
        attacker.sent,
        parts.said,
    )
    assert api.ended(api.submit("security.echo", {"value": "well"}))["result"] == "well"
    assert all(part.is_running for part in parts.parts)
    assert "slot_died" not in parts.said


def test_messages_that_would_run_something_as_they_are_read(
    parts: Parts, api: Api, attacker: Attacker, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    pickled = pickle.dumps(Touch(trap))
    for content_type in ("application/x-python-serialize", "application/data", "application/json", "text/plain"):
        attacker.publish(pickled, content_type)
    wake = {"version": 1, "queue": None, "priority": "high"}
    attacker.publish(pickle.dumps(([], wake, Touch(trap))), "application/x-python-serialize", task=WAKE_TASK, id="1")
    evil = f"!!python/object/apply:os.mkdir ['{trap}']"
    for content_type in ("application/x-yaml", "application/yaml", "text/yaml"):
        attacker.publish(evil, content_type, "utf-8")
    attacker.publish(yaml.safe_dump([[], wake, {}]), "application/x-yaml", "utf-8", task=WAKE_TASK, id="2")
    attacker.publish(b"\x93\x01\x02", "application/x-msgpack")
    assert_all_refused(parts, api, attacker)
    assert not trap.exists()


def test_the_traps_would_go_off(tmp_path: Path) -> None:
    """Or else that test would show nothing."""
    pickle.loads(pickle.dumps(Touch(tmp_path / "pickle")))
    yaml.unsafe_load(f"!!python/object/apply:os.mkdir ['{tmp_path / 'yaml'}']")
    assert {each.name for each in tmp_path.iterdir()} == {"pickle", "yaml"}


def test_messages_for_tasks_that_celery_brings_or_that_others_have(parts: Parts, api: Api, attacker: Attacker) -> None:
    for name in (*BUILTINS, *(each for each in NAMES if each not in (WAKE_TASK, *BUILTINS))):
        attacker.send_task(name)
    attacker.send_task(WAKE_TASK, "an argument", version=1)
    attacker.send_task("security.echo", value=1)
    assert_all_refused(parts, api, attacker)


def test_commands_to_the_worker_are_not_heard(parts: Parts, api: Api, attacker: Attacker) -> None:
    for command in ("shutdown", "pool_restart", "pool_shrink", "cancel_consumer", "revoke", "rate_limit", "ping"):
        assert attacker.broadcast(command) == 0
        attacker.publish(json.dumps({"method": command, "arguments": {}}), "application/json", "utf-8")
    assert_all_refused(parts, api, attacker)


def test_names_in_rows_reach_nothing_but_the_registry(parts: Parts, api: Api, attacker: Attacker) -> None:
    jobs = {name: attacker.insert_job(name) for name in _IN_ROWS}
    found = {name: api.ended(job_id) for name, job_id in jobs.items()}
    assert {job["state"] for job in found.values()} == {"FAILED"}
    assert {job["error"]["reason"] for job in found.values()} == {"unknown_task"}
    assert_all_refused(parts, api, attacker)


def test_names_in_requests_are_refused(api: Api) -> None:
    for name in NAMES:
        reply = api.ask("POST", "/v1/jobs", json={"task": name, "args": {}})
        assert (reply.status_code, reply.json()["type"]) == (422, "/problems/unknown-task")

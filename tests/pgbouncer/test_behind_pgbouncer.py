"""What users rely on, with PgBouncer in transaction mode between every part and PostgreSQL."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
import psycopg
import pytest
from bouncer import documented_role, documented_settings
from pooled import FRESH, PooledServers
from sqlalchemy import Engine, text
from stage import Stage

from servers import database
from steeple import Steeple
from steeple.embedded.processes import wait_until
from steeple.settings import Settings
from steeple.store.engine import create_engine

PATIENCE = 60.0
AT_ONCE = 3

_SET = "SELECT name, setting FROM pg_settings WHERE source = 'session'"

_SHOWN = "SELECT name, setting FROM pg_settings WHERE name = ANY (%s)"

_LEAKED = """
SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('synchronous_commit'),
       current_setting('lock_timeout'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
"""

_BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'steeple' AND usename = 'steeple'"


@pytest.fixture
def engine(servers: PooledServers) -> Iterator[Engine]:
    """Of a program that submits and does work of its own in the same database."""
    found = create_engine(servers.settings)
    with found.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS orders (id integer PRIMARY KEY)"))
        connection.execute(text("TRUNCATE orders"))
    yield found
    found.dispose()


@pytest.fixture
def app(servers: PooledServers) -> Iterator[Steeple]:
    found = Steeple(servers.settings)
    yield found
    found.close()


def test_jobs_succeed_are_tried_again_and_fail(stage: Stage) -> None:
    flaky, hopeless = stage.submit("fault.flaky", {"failures": 2}), stage.submit("fault.flaky", {"failures": 9})
    waited = httpx2.post(
        f"{stage.fleet.urls()[0]}/v1/jobs",
        content=stage.body("fault.work"),
        headers={"Prefer": "wait=30", "Content-Type": "application/json"},
        trust_env=False,
        timeout=PATIENCE,
    )
    assert waited.json()["state"] == "SUCCESS"
    assert (stage.wait_ended(flaky)["state"], stage.job(flaky)["attempt"]) == ("SUCCESS", 3)
    assert (stage.wait_ended(hopeless)["state"], stage.job(hopeless)["attempt"]) == ("FAILED", 3)
    first, second, third = (run.began_at for run in stage.runs(flaky))
    assert first < second < third
    stage.close()


def test_the_same_key_gives_the_same_job(stage: Stage) -> None:
    body = stage.body("fault.work")
    first, again = stage.post(body, "a key"), stage.post(body, "a key")
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert stage.post(stage.body("fault.work", {"seconds": 0.1}), "a key").status_code == 422
    stage.wait_ended(UUID(first.json()["id"]))
    assert len(stage.runs(UUID(first.json()["id"]))) == 1
    stage.close()


def test_batch_runs_each_job_once(stage: Stage) -> None:
    ids = stage.submit_batch("fault.work", 300)
    assert wait_until(lambda: stage.ended() == len(ids), PATIENCE)
    assert sorted(run.job_id for run in stage.close().effects) == sorted(ids)


def test_cancelled_before_and_while_it_runs(stage: Stage) -> None:
    pending, running = stage.submit("fault.work", delay=3600), stage.begun("fault.work", {"seconds": 60})
    assert (stage.cancel(pending), stage.cancel(running)) == (202, 202)
    assert stage.wait_ended(pending)["state"] == stage.wait_ended(running)["state"] == "CANCELLED"
    stage.close()


def test_stopped_at_its_timeout(stage: Stage) -> None:
    job = stage.wait_ended(stage.submit("fault.work", {"seconds": 60}, timeout=0.5, max_attempts=1))
    assert (job["state"], job["error"]["reason"]) == ("FAILED", "timeout")
    stage.close()


def test_starts_at_its_time_and_not_before(stage: Stage) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1)
    job_id = stage.submit("fault.work", run_at=due.isoformat())
    stage.wait_ended(job_id)
    assert stage.runs(job_id)[0].began_at >= due
    stage.close()


def test_the_more_urgent_goes_first(stage: Stage) -> None:
    slots = stage.fleet.shape.workers * stage.fleet.shape.slots
    for _ in range(slots):
        stage.held()
    low, high = (
        [stage.submit("fault.work", {"seconds": 0.2}, priority=priority) for _ in range(slots)]
        for priority in ("low", "high")
    )
    stage.let_go()
    for job_id in low + high:
        stage.wait_ended(job_id)
    last_of_high = max(stage.runs(job_id)[0].began_at for job_id in high)
    assert last_of_high < max(stage.runs(job_id)[0].began_at for job_id in low)
    stage.close()


def test_submitted_from_python_in_the_caller_s_transaction(stage: Stage, app: Steeple, engine: Engine) -> None:
    arguments = {"effects": str(stage.effects)}
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO orders VALUES (1)"))
        kept = app.submit("fault.work", arguments, connection=connection)
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO orders VALUES (2)"))
        lost = app.submit("fault.work", arguments, connection=connection)
        connection.rollback()
    assert kept.result(timeout=PATIENCE)["fence"] == 1
    assert stage.servers.query("SELECT id FROM orders") == [(1,)]
    assert not stage.servers.query("SELECT FROM jobs WHERE id = %s", lost.id)
    again = [app.submit("fault.work", arguments, idempotency_key="k").id for _ in range(10)]
    assert len(set(again)) == 1


def test_doctor_finds_nothing_wrong(stage: Stage) -> None:
    done = _steeple(stage.servers.addresses, "doctor", "--json")
    checks = {each["check"]: each for each in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    assert {each["verdict"] for each in checks.values()} == {"ok"}
    version = str(stage.value("SHOW server_version")).partition(".")[0]
    assert checks["database"]["detail"] == f"PostgreSQL {version}"


def test_schema_is_upgraded_by_many_at_once(servers: PooledServers) -> None:
    with database(servers.postgres, FRESH):
        addresses = {"STEEPLE_DATABASE_URL": servers.bouncer.url(FRESH)}
        upgrades = [_begin(addresses, "db", "upgrade") for _ in range(AT_ONCE)]
        said = [each.communicate(timeout=PATIENCE) for each in upgrades]
        assert [each.returncode for each in upgrades] == [0] * AT_ONCE, said
        status = _steeple(addresses, "db", "status", "--json")
        assert status.returncode == 0, status.stderr


def test_under_load_pgbouncer_is_killed_and_started_again(stage: Stage, servers: PooledServers) -> None:
    with stage.load() as crowd, stage.trouble():
        servers.bouncer.kill()
        stage.sleep(1)
        servers.bouncer.start()
        stage.progress(crowd)


def test_nothing_of_one_is_left_to_the_next(stage: Stage, servers: PooledServers) -> None:
    """Of all that the parts did, no server connection keeps a trace; and PostgreSQL has few of those."""
    most = int(documented_settings()["pgbouncer"]["default_pool_size"])
    with stage.load() as crowd:
        stage.progress(crowd)
        assert 0 < int(str(stage.value(_BACKENDS))) <= most
    lock_timeout = documented_role()["lock_timeout"]
    with ExitStack() as open_ones:
        for _ in range(most // 2):
            connection = open_ones.enter_context(psycopg.connect(servers.bouncer.url(), prepare_threshold=None))
            assert connection.execute(_LEAKED).fetchone() == (0, "on", lock_timeout, 0)


def test_the_documented_role_has_what_a_session_has(servers: PooledServers) -> None:
    straight = create_engine(Settings(database_url=servers.postgres.url()), size=1)
    with straight.begin() as connection:
        found = {row.name: row.setting for row in connection.exec_driver_sql(_SET)}
    straight.dispose()
    with psycopg.connect(servers.bouncer.url(), prepare_threshold=None) as pooled:
        shown: dict[str, str] = dict(pooled.execute(_SHOWN, [list(found)]).fetchall())
    assert {name.lower() for name in found} == set(documented_role())
    assert shown == found


def test_postgresql_restarted_behind_it(stage: Stage) -> None:
    postgres = stage.servers.postgres
    with stage.load() as crowd, stage.trouble():
        postgres.stop()
        stage.sleep(1)
        postgres.start()
        back_at = time.monotonic()
        stage.progress(crowd, 1)
        assert time.monotonic() - back_at < 10


def _steeple(addresses: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    process = _begin(addresses, *words)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


def _begin(addresses: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "steeple", *words]
    return subprocess.Popen(
        command, env=addresses, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

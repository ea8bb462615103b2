"""What befalls PostgreSQL: crashes, cut connections, no room, long transactions, deadlocks. Each under load."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from sqlalchemy import text
from stage import Stage

from servers import libpq_url
from steeple.embedded.processes import wait_until
from steeple.settings import Settings
from steeple.store.engine import create_engine

PATIENCE = 30.0
LEASE = 3.5

_TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = 'steeple' AND pid <> pg_backend_pid()
"""

_RUNNING_LAST_FIRST = "SELECT id FROM jobs WHERE state = 'RUNNING' ORDER BY id DESC"

_LOCK = "SELECT FROM jobs WHERE id = %s FOR UPDATE"

_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"

Stranger = psycopg.Connection[tuple[object, ...]]


@contextmanager
def stranger(stage: Stage) -> Iterator[Stranger]:
    """Somebody else at work in our database, in transactions as long as they like."""
    with psycopg.connect(libpq_url(stage.servers.postgres.url())) as connection:
        yield connection
        connection.rollback()


def test_restarted_as_by_immediate_shutdown(stage: Stage) -> None:
    postgres = stage.servers.postgres
    with stage.load() as crowd:
        job_id = stage.held()
        for _ in range(3):
            with stage.trouble():
                stage.journal.server_crashed()
                os.kill(postgres.pid, signal.SIGQUIT)
                assert wait_until(lambda: postgres.exit_status() is not None, PATIENCE)
                postgres.start()
                stage.progress(crowd)
        stage.let_go()
        job = stage.wait_ended(job_id)
    assert job["state"] == "SUCCESS"
    runs = [(run.job_id, run.fence) for run in stage.history.effects]
    assert len(runs) == len(set(runs)), "a fence was handed out twice"


def test_every_backend_terminated_again_and_again(stage: Stage) -> None:
    with stage.load() as crowd, stage.trouble():
        for _ in range(10):
            stage.value(_TERMINATE)
            stage.progress(crowd, 5)


@pytest.mark.soak
def test_connections_exhausted(stage: Stage) -> None:
    """Somebody takes every connection that there is, those of the parts, too."""
    with stage.load() as crowd:
        hoard: list[Stranger] = []
        with stage.trouble():
            for _ in range(5):
                with suppress(psycopg.OperationalError):
                    while True:
                        hoard.append(psycopg.connect(libpq_url(stage.servers.postgres.url()), autocommit=True))
                hoard[0].execute(_TERMINATE)
            before = crowd.accepted
            stage.sleep(2)
            assert crowd.accepted - before < 5
            for connection in hoard:
                connection.close()
            stage.progress(crowd)


@pytest.mark.soak
def test_a_part_falls_silent_in_the_middle_of_a_transaction(stage: Stage) -> None:
    """As when its machine is cut off: the server keeps its locks, until it has been idle for too long."""
    engine = create_engine(Settings(database_url=stage.servers.postgres.url()))
    with stage.load():
        job_id = stage.held()
        with stage.trouble(), engine.connect() as connection:
            connection.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": job_id})
            for worker in stage.fleet.workers:
                worker.kill()
            stage.let_go()
            stage.fleet.start()
            job = stage.wait_ended(job_id, patience=15)
            connection.invalidate()
    engine.dispose()
    assert (job["state"], job["crashes"]) == ("SUCCESS", 1)


@pytest.mark.parametrize("cut", ["stalled", "half open"])
@pytest.mark.soak
def test_cut_off_from_the_database(stage: Stage, cut: str) -> None:
    with stage.load() as crowd, stage.trouble():
        job_id = stage.held()
        line = stage.servers.database_line
        if cut == "stalled":
            with line.stalled():
                stage.sleep(LEASE)
        else:
            assert line.forget()
            stage.sleep(LEASE)
            line.heal()
        stage.let_go()
        stage.progress(crowd)
        assert stage.wait_ended(job_id)["state"] == "SUCCESS"


@pytest.mark.soak
def test_a_stranger_s_lock_on_a_dead_worker_s_job_holds_up_no_other(stage: Stage) -> None:
    with stage.load() as crowd:
        locked, other = stage.held(), stage.held()
        with stage.trouble(), stranger(stage) as connection:
            connection.execute(_LOCK, [locked])
            for worker in stage.fleet.workers:
                worker.kill()
            stage.fleet.start()
            assert wait_until(lambda: stage.job(other)["crashes"] == 1, LEASE + 5), stage.fleet.said
            stage.progress(crowd)
            assert stage.job(locked)["state"] == "RUNNING"
        stage.let_go()
        assert stage.wait_ended(locked)["crashes"] == 1


@pytest.mark.soak
def test_a_long_transaction_that_holds_a_unique_key_holds_up_no_other(stage: Stage) -> None:
    """As when a program submits in a transaction of its own, and takes its time to commit."""
    with stage.load() as crowd, stranger(stage) as connection:
        connection.execute(
            "INSERT INTO jobs (id, task, queue, priority, run_at, timeout, max_attempts, args, unique_key)"
            " VALUES (gen_random_uuid(), 'fault.work', 'elsewhere', 0, now(), 60, 3, '{}', 'mine')"
        )
        waiting = threading.Thread(target=lambda: stage.submit_anyhow("fault.work", unique_key="mine"), daemon=True)
        waiting.start()
        stage.progress(crowd)
        connection.rollback()
        waiting.join(PATIENCE)


def test_deadlocks_provoked(stage: Stage) -> None:
    """By a stranger who locks what runs in the wrong order."""
    stage.servers.query("ALTER SYSTEM SET deadlock_timeout = '50ms'")
    stage.value("SELECT pg_reload_conf()")
    before = stage.value(_DEADLOCKS)
    with stage.load() as crowd, stage.trouble(), stranger(stage) as connection:
        while stage.value(_DEADLOCKS) == before:
            stage.submit_batch("fault.work", 50)
            with suppress(psycopg.errors.DeadlockDetected):
                for (job_id,) in connection.execute(_RUNNING_LAST_FIRST).fetchall():
                    connection.execute(_LOCK, [job_id])
                    stage.sleep(0.02)
            connection.rollback()
        stage.progress(crowd)
    stage.servers.query("ALTER SYSTEM RESET deadlock_timeout")
    stage.value("SELECT pg_reload_conf()")

"""``steeple scheduler`` as operators run it: signals, a database that goes away, a broker that hangs."""

import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playground import Playground
from servers import connect
from steeple import Settings
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.processes import wait_until

PATIENCE = 30.0
EVERY = Lane(None, Priority.DEFAULT)

StartScheduler = Callable[..., None]


class SchedulerProcess:
    def __init__(self, url: str, broker_url: str, log: Path, *arguments: str, **environment: str) -> None:
        self._log = log
        addresses = {"STEEPLE_DATABASE_URL": url, "STEEPLE_BROKER_URL": broker_url, "STEEPLE_LOG_FORMAT": "json"}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "steeple", "scheduler", *arguments],
                env=os.environ | addresses | environment,
                stdout=output,
                stderr=output,
            )

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self._log.read_text().splitlines()]

    def wait_until_it_runs(self) -> None:
        assert wait_until(lambda: "scheduler_started" in self.events(), PATIENCE), self._log.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def start(broker_url: str, tmp_path: Path) -> Iterator[Callable[..., SchedulerProcess]]:
    started: list[SchedulerProcess] = []

    def start(url: str, *arguments: str, **environment: str) -> SchedulerProcess:
        log = tmp_path / f"scheduler-{len(started)}.log"
        started.append(SchedulerProcess(url, broker_url, log, *arguments, **environment))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(
    start: Callable[..., SchedulerProcess], playground: Playground, number: signal.Signals
) -> None:
    scheduler = start(playground.url)
    scheduler.wait_until_it_runs()
    assert scheduler.stop(number) == 0
    assert scheduler.events() == ["scheduler_started", "scheduler_stopped"]


def test_it_brings_the_schema_to_head_and_registers_the_app_s_tasks(
    start: Callable[..., SchedulerProcess], empty_database_url: str
) -> None:
    schedulers = [start(empty_database_url, "steeple.demo.tasks:app") for _ in range(2)]
    for scheduler in schedulers:
        scheduler.wait_until_it_runs()
        assert scheduler.stop() == 0
    playground = Playground(empty_database_url)
    assert playground.value("SELECT count(*) FROM tasks WHERE name = 'demo.weather'") == 1
    playground.engine.dispose()


def test_without_leave_to_upgrade_it_says_what_to_do(
    start: Callable[..., SchedulerProcess], empty_database_url: str
) -> None:
    scheduler = start(empty_database_url, STEEPLE_AUTO_UPGRADE="false")
    assert scheduler.process.wait(PATIENCE) != 0
    assert "steeple db upgrade" in scheduler._log.read_text()


def test_a_database_that_is_away_at_the_start_is_told(
    start: Callable[..., SchedulerProcess], empty_database_url: str
) -> None:
    scheduler = start(empty_database_url.replace("/test_", "/no_such_"))
    assert scheduler.process.wait(PATIENCE) != 0
    assert "Traceback" not in scheduler._log.read_text()


def test_it_outlives_the_database_and_says_so_once(
    playground: Playground,
    postgres: EmbeddedPostgres,
    start_scheduler: StartScheduler,
    waiting: Callable[[Lane], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    def told() -> list[str]:
        return [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]

    start_scheduler()
    assert wait_until(lambda: "scheduler_started" in told(), PATIENCE)
    playground.engine.dispose()
    with connect(postgres) as server:
        server.execute("ALTER DATABASE test_shared ALLOW_CONNECTIONS false")
        try:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test_shared'")
            assert wait_until(lambda: "trouble_began" in told(), PATIENCE)
        finally:
            server.execute("ALTER DATABASE test_shared ALLOW_CONNECTIONS true")
    assert wait_until(lambda: "trouble_over" in told(), PATIENCE)
    playground.worker()
    playground.sql("UPDATE workers SET heartbeat_at = now() + interval '1 h'")
    playground.add(now=None)
    assert wait_until(lambda: waiting(EVERY) == 1, PATIENCE)
    assert told() == ["scheduler_started", "trouble_began", "trouble_over"]


class SilentBroker(threading.Thread):
    """Takes connections, and never answers."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen()
        self.callers: list[socket.socket] = []

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            while self._server.fileno() >= 0:
                if selector.select(0.05):
                    self.callers.append(self._server.accept()[0])

    def close(self) -> None:
        for each in (self._server, *self.callers):
            each.close()
        self.join(PATIENCE)


@pytest.fixture
def silent_broker(short_dir: Path) -> Iterator[SilentBroker]:
    short_dir.mkdir(parents=True, exist_ok=True)
    broker = SilentBroker(short_dir / "b")
    broker.start()
    yield broker
    broker.close()
    (short_dir / "b").unlink()


def test_a_broker_that_hangs_holds_up_nothing_else(
    playground: Playground,
    settings: Settings,
    silent_broker: SilentBroker,
    short_dir: Path,
    start: Callable[..., SchedulerProcess],
) -> None:
    playground.worker()
    playground.sql("UPDATE workers SET heartbeat_at = now() + interval '1 h'")
    playground.add(now=None)
    late = playground.add(now=None)
    scheduler = start(playground.url, STEEPLE_BROKER_URL=f"redis+socket://{short_dir / 'b'}")
    assert wait_until(lambda: len(silent_broker.callers) == 1, PATIENCE)
    playground.sql("UPDATE jobs SET expires_at = now() WHERE id = :id", id=late)
    assert wait_until(lambda: playground.read(late).state == State.FAILED, PATIENCE)
    assert len(silent_broker.callers) == 1
    assert scheduler.stop() == 0

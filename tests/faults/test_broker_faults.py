"""What befalls Redis, and what comes out of it: jobs are accepted meanwhile, and run as soon as it is back."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from crowd import CALM
from fleet import Servers
from stage import Stage

from steeple.broker.celery_app import WAKE_TASK, WAKE_VERSION, make_celery, queue_name
from steeple.domain.priority import Lane, Priority
from steeple.embedded.processes import wait_until
from steeple.settings import Settings

PATIENCE = 30.0

LANE = Lane(None, Priority.HIGH)


def broker(servers: Servers) -> "redis.Redis":
    return redis.Redis(unix_socket_path=str(servers.valkey.socket_path))


def test_killed_and_restarted_empty(stage: Stage) -> None:
    valkey = stage.servers.valkey
    with stage.load() as crowd, stage.trouble():
        os.kill(valkey.pid, signal.SIGKILL)
        assert wait_until(lambda: valkey.exit_status() is not None, PATIENCE)
        stage.accepts(crowd)
        valkey.start()
        stage.progress(crowd)


@pytest.mark.soak
def test_emptied_again_and_again(stage: Stage) -> None:
    with stage.load() as crowd, broker(stage.servers) as client:
        for _ in range(30):
            client.flushall()
            stage.progress(crowd, 3)


def test_half_open_connections(stage: Stage) -> None:
    """Whoever had a connection goes on believing in it, and is never answered."""
    with stage.load() as crowd, stage.trouble():
        assert stage.servers.broker_line.forget()
        stage.accepts(crowd)
        stage.progress(crowd)


def test_a_slot_forked_later_holds_no_connection_that_its_worker_polls(stage: Stage) -> None:
    """The worker would be told of it after it was closed, take that for news on the next one, and wait for ever."""
    with stage.load(CALM):
        job_id = stage.held()
        worker, former = stage.worker_of(job_id), stage.slot_of(job_id)
        slots = set(worker.children())
        with stage.trouble():
            os.kill(former, signal.SIGKILL)
            assert wait_until(lambda: bool(set(worker.children()) - slots), PATIENCE), stage.fleet.said
        (slot,) = set(worker.children()) - slots
        assert wait_until(lambda: bool(_polled(worker.pid)), PATIENCE)
        assert wait_until(lambda: not _polled(worker.pid) & set(_lines(slot).values()), PATIENCE)
        assert slot in worker.children()
        stage.let_go()


def _polled(pid: int) -> set[int]:
    """The process's own ports of the connections that its epoll watches."""
    watched = [re.findall(r"^tfd:\s*(\d+)", each.read_text(), re.M) for each in Path(f"/proc/{pid}/fdinfo").iterdir()]
    numbers = {int(number) for found in watched for number in found}
    return {port for number, port in _lines(pid).items() if number in numbers}


def _lines(pid: int) -> dict[int, int]:
    """The process's own port of each open connection, by the number of its file."""
    return {line.fd: line.laddr.port for line in psutil.Process(pid).net_connections("tcp") if line.raddr}


def test_stalled(stage: Stage) -> None:
    with stage.load() as crowd, stage.trouble():
        os.kill(stage.servers.valkey.pid, signal.SIGSTOP)
        stage.accepts(crowd)
        os.kill(stage.servers.valkey.pid, signal.SIGCONT)
        stage.progress(crowd)


@pytest.mark.soak
def test_out_of_memory(stage: Stage) -> None:
    with stage.load() as crowd, broker(stage.servers) as client, stage.trouble():
        client.config_set("maxmemory", 1)
        stage.accepts(crowd)
        stage.sleep(3)
        client.config_set("maxmemory", 0)
        assert all(part.is_running for part in stage.fleet.parts), stage.fleet.said
        stage.progress(crowd)


@pytest.mark.parametrize("seconds", [4, 60])
@pytest.mark.soak
def test_partitioned(stage: Stage, seconds: float) -> None:
    with stage.load() as crowd, stage.trouble():
        with stage.servers.broker_line.stalled():
            stage.accepts(crowd)
            stage.sleep(seconds)
        stage.progress(crowd)


def test_wake_ups_forged_unknown_and_of_another_format(stage: Stage) -> None:
    forged: list[tuple[str, dict[str, Any]]] = [
        ("os.system", {"command": "true"}),
        ("celery.backend_cleanup", {}),
        ("fault.work", {"effects": str(stage.effects)}),
        (WAKE_TASK, {}),
        (WAKE_TASK, {"version": WAKE_VERSION - 1, "queue": None, "priority": "high"}),
        (WAKE_TASK, {"version": WAKE_VERSION + 1, "queue": None, "priority": "high"}),
        (WAKE_TASK, {"version": WAKE_VERSION, "queue": "../..", "priority": "high"}),
        (WAKE_TASK, {"version": WAKE_VERSION, "queue": None, "priority": "urgent"}),
    ]
    with stage.load() as crowd:
        for task, keywords in forged:
            send(stage, task, keywords, 5)
            stage.forged(5)
        stage.progress(crowd)
    assert stage.history.dropped == 5 * len(forged)


def test_wake_ups_repeated_a_thousand_times(stage: Stage) -> None:
    with stage.load() as crowd:
        send(stage, WAKE_TASK, {"version": WAKE_VERSION, "queue": None, "priority": "high"}, 1000)
        stage.progress(crowd)
    assert stage.history.dropped == 0


def send(stage: Stage, task: str, keywords: dict[str, Any], times: int) -> None:
    celery = make_celery(Settings(broker_url=stage.servers.valkey.url()))
    queue = celery.amqp.queues.select_add(queue_name(LANE))
    with celery.connection_for_write() as connection:
        for _ in range(times):
            celery.send_task(task, kwargs=keywords, queue=queue, connection=connection)

"""The embedded broker: reachable for Celery, private, gone when its owner is, and no obstacle to the next start."""

import os
import signal
import stat
from pathlib import Path

import pytest
import redis
from celery import Celery

from steeple.embedded.processes import is_alive, wait_until
from steeple.embedded.valkey import EmbeddedValkey
from steeple.errors import ConfigurationError


def test_celery_publishes_through_the_url(valkey: EmbeddedValkey, broker_url: str) -> None:
    with Celery(broker=broker_url, set_as_current=False) as app:
        app.send_task("anything", queue="lane")

    number = int(broker_url.rsplit("=", 1)[1])
    with redis.Redis(unix_socket_path=str(valkey.socket_path), db=number) as client:
        assert client.llen("lane") == 1


def test_the_socket_is_private_and_nothing_listens_on_tcp(valkey: EmbeddedValkey) -> None:
    assert stat.S_IMODE(valkey.socket_path.parent.stat().st_mode) == 0o700
    with redis.Redis(unix_socket_path=str(valkey.socket_path), decode_responses=True) as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_second_server_on_the_same_directory_is_refused(tmp_path: Path, short_dir: Path) -> None:
    with EmbeddedValkey(tmp_path, short_dir) as first:
        second = EmbeddedValkey(tmp_path, short_dir)
        with pytest.raises(ConfigurationError, match=r"is in use \(process \d+\)"):
            second.start()
        assert first.exit_status() is None


def test_it_starts_again_after_being_killed(tmp_path: Path, short_dir: Path) -> None:
    server = EmbeddedValkey(tmp_path, short_dir)
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    assert wait_until(lambda: server.exit_status() is not None, 5)
    server.start()
    assert server.exit_status() is None
    pid = server.pid
    server.stop()
    assert not is_alive(pid)

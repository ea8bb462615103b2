"""The process of the API: what it does before it listens, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import httpx2
import pytest
from running_api import make_app, running

from playground import Playground
from steeple import Settings
from steeple.api.serve import listen, prepare
from steeple.errors import ConfigurationError
from steeple.settings import is_loopback
from steeple.store import migrate

TASKS = """
from steeple import Steeple
app = Steeple()

@app.task("double")
def double(number: int) -> int:
    return 2 * number
"""


@contextmanager
def process(directory: Path, url: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """``steeple api`` as users run it; killed at the end if it is still there."""
    (directory / "tasks.py").write_text(TASKS)
    settings = {"STEEPLE_DATABASE_URL": url, "STEEPLE_LOG_FORMAT": "json", "STEEPLE_PORT": "0", **environment}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STEEPLE_")}
    command = [sys.executable, "-m", "steeple", "api", *arguments]
    found = subprocess.Popen(command, cwd=directory, env=clean | settings, stderr=subprocess.PIPE, text=True)
    try:
        yield found
    finally:
        found.kill()
        found.communicate()


def started(api: "subprocess.Popen[str]") -> tuple[str, list[str]]:
    """Where it listens, and the events that it told of until then."""
    assert api.stderr is not None
    events = []
    for line in api.stderr:
        event = json.loads(line)
        events.append(event["event"])
        if event["event"] == "api_started":
            return event["url"], events
    raise AssertionError(f"it ended with {api.wait()}")


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_ends_in_order_though_a_request_waits(
    tmp_path: Path, shared_database_url: str, playground: Playground, how: signal.Signals
) -> None:
    with process(tmp_path, shared_database_url, "tasks:app") as api:
        url, events = started(api)
        assert events == ["api_is_open", "api_started"]
        with httpx2.Client(base_url=url, timeout=30) as http:
            job = http.post("/v1/jobs", json={"task": "double", "args": {"number": 2}}).json()
            held = connect(url)
            held.sendall(f"GET /v1/jobs/{job['id']}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert httpx2.get(f"{url}/v1/jobs/{job['id']}").json() == job  # this came later, and is answered
            began = monotonic()
            api.send_signal(how)
            with held, held.makefile("rb") as reply:
                assert json.loads(reply.read().partition(b"\r\n\r\n")[2]) == job
            assert api.wait(20) == 0
            assert monotonic() - began < 10
    assert playground.value("SELECT count(*) FROM tasks WHERE name = 'double'") == 1


def test_it_upgrades_an_empty_database(empty_database_url: str) -> None:
    settings = Settings(database_url=empty_database_url, broker_url=None)
    with running(settings, make_app(settings)) as api:
        assert api.submit().status_code == 202
    assert migrate.status(empty_database_url).is_at_head


def test_it_leaves_the_schema_alone_if_it_is_told_to(empty_database_url: str) -> None:
    settings = Settings(database_url=empty_database_url, broker_url=None, auto_upgrade=False)
    with pytest.raises(Exception, match="api_keys"):
        prepare(None, settings)
    assert migrate.status(empty_database_url).current is None


def test_an_address_that_is_taken_is_a_fault_of_configuration() -> None:
    (taken,) = listen("127.0.0.1", 0)
    with taken, pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:\d+"):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["no.such.host.invalid", "256.256.256.256"])
def test_a_host_that_is_not_there_is_a_fault_of_configuration(host: str) -> None:
    with pytest.raises(ConfigurationError, match=host):
        listen(host, 0)


def test_it_listens_on_every_address_of_a_name() -> None:
    (first,) = listen("localhost", 0)
    port = first.getsockname()[1]
    first.close()
    found = listen("localhost", port)
    families = {each.family for each in found}
    for each in found:
        each.close()
    assert families <= {socket.AF_INET, socket.AF_INET6}
    assert len(found) == len(families) >= 1


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("example.org", False),
        ("localhost.example.org", False),
    ],
)
def test_only_addresses_of_this_machine_alone_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_broker_that_is_away_keeps_nothing_from_stopping(shared_database_url: str, playground: Playground) -> None:
    playground.worker()
    settings = Settings(database_url=shared_database_url, broker_url="redis://127.0.0.1:1/0")
    with running(settings, make_app(settings)) as api:
        assert api.submit().status_code == 202
        began = monotonic()
    assert monotonic() - began < 15

"""The first minutes with Steeple, and the last: start, a first job, stop, start again, leave nothing behind."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from running_up import Installation

from steeple.embedded.directories import socket_directory
from steeple.embedded.processes import is_alive, wait_until

Up = Callable[..., Installation]


def test_a_first_start_shows_a_real_job_through_to_its_result(up: Up) -> None:
    first = up("--slots", "2")
    assert wait_until(lambda: "see it at" in first.said, 60), first.said
    states = re.findall(r"\|   (PENDING|RUNNING|SUCCESS)", first.said)
    assert (states[0], states[-1]) == ("PENDING", "SUCCESS")
    assert re.search(r"RUNNING  \d+%  \w+: \d+ mm of rain", first.said)
    assert re.search(r"December +[\d.]+", first.said)
    link = re.search(r"see it at (\S+)", first.said)
    assert link is not None
    assert first.api.get(link[1]).status_code == 200
    assert first.stop() == 0

    second = up("--slots", "2")
    assert second.said.count("a first job") == 1
    (job,) = second.api.get("/v1/jobs").json()["jobs"]
    assert (job["task"], job["state"]) == ("demo.weather", "SUCCESS")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_no_process_and_no_socket(up: Up, how: signal.Signals) -> None:
    running = up()
    running.submit("slow_note", {"path": "/dev/null", "text": "x", "seconds": 1})
    family = running.family()
    assert len(family) >= 8  # PostgreSQL and its own, Valkey, api, scheduler, worker, slots
    assert running.stop(how) == 0
    assert not any(map(is_alive, family))
    for server in ("postgres", "valkey"):
        assert not socket_directory(running.data_dir / server).exists()


def test_an_open_address_without_a_key_is_refused_before_anything_runs_on_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "steeple", "up", "--host", "0.0.0.0", "--port", "0", "--data-dir", str(tmp_path)]
    done = subprocess.run([*command, "--quiet"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "refuses to listen on 0.0.0.0 without an API key" in done.stderr
    assert "STEEPLE_BOOTSTRAP_API_KEY_FILE" in done.stderr
    assert len(done.stderr.splitlines()) == 1

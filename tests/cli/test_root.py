"""The command line as a whole: version, help, completion, settings that are wrong."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from steeple_command import Steeple
from typer.testing import CliRunner

from steeple.cli.exits import ExitCode
from steeple.cli.root import app


def test_version(steeple: Steeple) -> None:
    done = steeple("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"steeple {version('steeple')}\n", "")


def test_help_names_every_exit_code_and_command() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    assert all(f"{code.value}  {code.meaning}" in text for code in ExitCode)
    commands = ("up", "api", "scheduler", "worker", "db", "jobs", "operations", "keys", "doctor")
    assert all(name in text for name in commands)


def test_an_unknown_command_is_a_usage_error_on_stderr(steeple: Steeple) -> None:
    done = steeple("jbos")
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert "jbos" in done.stderr


def test_shell_completion_answers(steeple: Steeple) -> None:
    environment = {"_STEEPLE_COMPLETE": "complete_bash", "COMP_WORDS": "steeple jobs ca", "COMP_CWORD": "2"}
    assert "cancel" in steeple(**environment).stdout


def test_wrong_settings_are_a_line_each_with_the_variables_name(steeple: Steeple) -> None:
    done = steeple("jobs", "list", STEEPLE_PORT="abc", STEEPLE_LOG_LEVEL="loud")
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    lines = done.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["STEEPLE_PORT", "STEEPLE_LOG_LEVEL"]
    assert "abc" not in done.stderr


def test_a_file_of_a_setting_that_is_missing_is_told(steeple: Steeple, tmp_path: Path) -> None:
    done = steeple("jobs", "list", STEEPLE_API_KEY_FILE=str(tmp_path / "gone"))
    assert done.returncode == ExitCode.USAGE
    assert "gone" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_light_install_says_what_is_missing() -> None:
    code = "import sys; sys.modules['typer'] = None; from steeple.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'steeple[server]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_does_not_load_the_servers_libraries() -> None:
    code = (
        "import sys; from steeple.cli.root import app; app(['--help'], standalone_mode=False); "
        "print(*sorted({'sqlalchemy', 'celery', 'fastapi', 'httpx2', 'alembic'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"


@pytest.mark.parametrize("name", ["up", "api", "scheduler", "worker", "doctor", "db", "jobs", "operations", "keys"])
def test_each_command_has_a_help(name: str) -> None:
    assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0

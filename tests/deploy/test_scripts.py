"""The two scripts in the image: make-secrets, which may run again, and check-health, which asks each part."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from steeple.domain.priority import Binding
from steeple.store.workers import NewWorker, register

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NAMES = ["api_key", "database_url", "postgres_password"]


def test_secrets_are_made_readable_for_the_users_of_all_containers(tmp_path: Path) -> None:
    _make_secrets(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o444}
    assert (tmp_path / "api_key").read_text().startswith("stpl_")


def test_the_url_holds_the_password(tmp_path: Path) -> None:
    _make_secrets(tmp_path)
    url = make_url((tmp_path / "database_url").read_text())
    assert (url.host, url.port, url.username, url.database) == ("postgres", 5432, "steeple", "steeple")
    assert url.password == (tmp_path / "postgres_password").read_text()


def test_no_two_deployments_share_a_secret(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        _make_secrets(tmp_path / name)
    assert all((tmp_path / "one" / name).read_text() != (tmp_path / "other" / name).read_text() for name in NAMES)


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    _make_secrets(tmp_path)
    made = _contents(tmp_path)
    _make_secrets(tmp_path)
    assert _contents(tmp_path) == made


def test_a_run_after_a_crash_goes_on_with_the_password_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "postgres_password").write_text("p@ss/word:of mine\n")
    _make_secrets(tmp_path)
    assert make_url((tmp_path / "database_url").read_text()).password == "p@ss/word:of mine"


def test_runs_at_the_same_time_agree(tmp_path: Path) -> None:
    runs = [subprocess.Popen(_make_secrets_command(tmp_path)) for _ in range(8)]
    assert {run.wait() for run in runs} == {0}
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES
    assert (tmp_path / "postgres_password").read_text() in (tmp_path / "database_url").read_text()


def test_a_worker_with_a_heartbeat_under_this_host_name_is_healthy(database_url: str) -> None:
    _register(database_url, f"{socket.gethostname()}:17")
    assert _check_health("worker", database_url).returncode == 0


def test_the_heartbeat_of_another_container_does_not_count(database_url: str) -> None:
    _register(database_url, "some-other-container:17")
    asked = _check_health("worker", database_url)
    assert asked.returncode == 1
    assert "alive: some-other-container:17" in asked.stderr


def test_a_scheduler_that_reaches_the_database_is_healthy(empty_database_url: str) -> None:
    assert _check_health("scheduler", empty_database_url).returncode == 0


@pytest.mark.parametrize("part", ["api", "scheduler", "worker"])
def test_without_its_database_or_listener_a_part_is_not_healthy(part: str) -> None:
    asked = _check_health(part, "postgresql://steeple:hidden@127.0.0.1:1/steeple")
    assert asked.returncode == 1
    assert len(asked.stderr.splitlines()) == 1
    assert "hidden" not in asked.stderr


def test_an_unknown_part_is_refused() -> None:
    assert "usage" in _check_health("broker", "").stderr


def _make_secrets(directory: Path) -> None:
    subprocess.run(_make_secrets_command(directory), check=True)


def _make_secrets_command(directory: Path) -> list[str]:
    return [sys.executable, str(DEPLOY / "make-secrets"), str(directory), "postgres:5432"]


def _contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def _register(database_url: str, name: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        register(connection, NewWorker(UUID(int=1), name, "1.0", 2, Binding(), ()))
    engine.dispose()


def _check_health(part: str, database_url: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "STEEPLE_DATABASE_URL": database_url, "STEEPLE_PORT": "1"}
    command = [sys.executable, str(DEPLOY / "check-health"), part]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

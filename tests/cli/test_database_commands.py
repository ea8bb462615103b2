"""``steeple db``, ``keys`` and ``doctor`` on a real database."""

import json
from uuid import uuid4

import pytest
from steeple_command import Steeple

from steeple.cli.exits import ExitCode

NOBODY = "postgresql://me:hunter2@127.0.0.1:1/steeple"


def test_upgrade_makes_the_schema_and_status_sees_it(
    steeple: Steeple, steeple_here: Steeple, empty_database_url: str
) -> None:
    before = steeple_here("db", "status", STEEPLE_DATABASE_URL=empty_database_url)
    upgraded = steeple("db", "upgrade", STEEPLE_DATABASE_URL=empty_database_url)
    after = steeple_here("db", "status", "--json", STEEPLE_DATABASE_URL=empty_database_url)
    assert (before.returncode, before.stdout.split("\t")[0]) == (ExitCode.FAILED, "none")
    assert "steeple db upgrade" in before.stderr
    assert (upgraded.returncode, upgraded.stdout, after.returncode) == (0, "", 0)
    document = json.loads(after.stdout)
    assert document["current"] == document["head"]
    assert steeple_here("db", "current", STEEPLE_DATABASE_URL=empty_database_url).stdout == f"{document['head']}\n"


def test_a_key_is_printed_once_listed_without_it_and_revoked(steeple_here: Steeple, database_url: str) -> None:
    made = steeple_here(
        "keys", "create", "ci", "--scope", "read", "--scope", "write", STEEPLE_DATABASE_URL=database_url
    )
    key = made.stdout.strip()
    assert (made.returncode, key.startswith("stpl_"), len(made.stdout.splitlines())) == (0, True, 1)
    assert key not in made.stderr
    listed = steeple_here("keys", "list", "--json", STEEPLE_DATABASE_URL=database_url)
    (row,) = json.loads(listed.stdout)
    assert (row["name"], row["scopes"], row["revoked_at"]) == ("ci", ["read", "write"], None)
    assert key not in listed.stdout
    assert steeple_here("keys", "revoke", row["id"], STEEPLE_DATABASE_URL=database_url).returncode == 0
    again = steeple_here("keys", "revoke", row["id"], STEEPLE_DATABASE_URL=database_url)
    assert (again.returncode, again.stdout) == (ExitCode.NOT_FOUND, "")
    columns = steeple_here("keys", "list", STEEPLE_DATABASE_URL=database_url).stdout.rstrip("\n").split("\t")
    assert columns[0] == row["id"]
    assert columns[-1].endswith("Z")


def test_a_key_that_is_not_there_is_not_revoked(steeple_here: Steeple, database_url: str) -> None:
    done = steeple_here("keys", "revoke", str(uuid4()), STEEPLE_DATABASE_URL=database_url)
    assert done.returncode == ExitCode.NOT_FOUND


def test_a_key_needs_a_scope(steeple_here: Steeple) -> None:
    done = steeple_here("keys", "create", "ci")
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert "--scope" in done.stderr


def test_a_database_without_the_schema_is_told(steeple_here: Steeple, empty_database_url: str) -> None:
    done = steeple_here("keys", "list", STEEPLE_DATABASE_URL=empty_database_url)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert done.stderr == "error: the database's schema is not at head; run `steeple db upgrade`\n"


@pytest.mark.parametrize("command", [["db", "status"], ["db", "upgrade"], ["keys", "list"]])
def test_no_database_is_one_line_without_the_password(steeple_here: Steeple, command: list[str]) -> None:
    done = steeple_here(*command, STEEPLE_DATABASE_URL=NOBODY)
    assert (done.returncode, done.stdout) == (ExitCode.UNREACHABLE, "")
    assert len(done.stderr.splitlines()) == 1
    assert "STEEPLE_DATABASE_URL" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("command", [["db", "status"], ["db", "upgrade"], ["keys", "list"]])
@pytest.mark.parametrize("url", ["", "mysql://me:hunter2@host/db"])
def test_no_usable_url_is_a_configuration_error(steeple_here: Steeple, command: list[str], url: str) -> None:
    done = steeple_here(*command, STEEPLE_DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert "STEEPLE_DATABASE_URL" in done.stderr
    assert "hunter2" not in done.stderr


def test_the_doctor_finds_each_fault_and_says_what_to_do(steeple_here: Steeple, empty_database_url: str) -> None:
    environment = {"STEEPLE_DATABASE_URL": empty_database_url, "STEEPLE_BROKER_URL": "redis://:hunter2@127.0.0.1:1/0"}
    done = steeple_here("doctor", "--json", **environment)
    document = json.loads(done.stdout)
    checks = {check["check"]: check for check in document["checks"]}
    verdicts = {name: check["verdict"] for name, check in checks.items()}
    assert (done.returncode, document["ok"]) == (ExitCode.FAILED, False)
    assert verdicts["python"] == verdicts["celery"] == verdicts["psycopg"] == verdicts["database"] == "ok"
    assert verdicts["clock"] == "ok"
    assert verdicts["schema"] == verdicts["workers"] == verdicts["broker"] == "fault"
    assert all(check["remedy"] for check in checks.values() if check["verdict"] == "fault")
    assert "hunter2" not in done.stdout + done.stderr


def test_the_doctor_skips_what_needs_a_database_that_is_not_there(steeple_here: Steeple) -> None:
    done = steeple_here("doctor", STEEPLE_DATABASE_URL=NOBODY)
    verdicts = dict(line.split("\t")[:2] for line in done.stdout.splitlines())
    assert done.returncode == ExitCode.FAILED
    assert (verdicts["database"], verdicts["schema"], verdicts["workers"]) == ("fault", "skipped", "skipped")
    assert "hunter2" not in done.stdout + done.stderr

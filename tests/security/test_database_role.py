"""Parts that may not change the schema: the role that the documentation makes is enough for all that they do."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from installed_parts import PATIENCE, Parts, installed

from servers import libpq_url
from steeple.embedded.processes import wait_until
from steeple.store.migrate import upgrade

PAGE = Path(__file__).resolve().parents[2] / "docs/operations.md"

_FORBIDDEN = [
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "ALTER TABLE jobs ADD COLUMN mine int",
    "DROP TABLE counters",
    "TRUNCATE counters",
    "CREATE INDEX mine ON jobs (task)",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
]

_WHO_IS_THERE = """
SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'steeple' AND datname = current_database()
"""


def documented() -> list[str]:
    """The statements of the page, for the roles of this test."""
    section = PAGE.read_text().split("\n## The database role\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return [each.strip() for each in str(block).replace("steeple_owner", "steeple").split(";") if each.strip()]


Query = Callable[[str], list[tuple[object, ...]]]


@pytest.fixture
def owner(empty_database_url: str) -> Iterator[Query]:
    """Statements as the owner, in a database with the schema and the documented role."""
    upgrade(empty_database_url)
    with psycopg.connect(libpq_url(empty_database_url), autocommit=True) as connection:

        def query(statement: str) -> list[tuple[object, ...]]:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        ((database,),) = query("SELECT current_database()")
        query(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
        for statement in documented():
            query(statement)
        query(f'GRANT CONNECT ON DATABASE "{database}" TO steeple_app')
        yield query
        query("DROP OWNED BY steeple_app")
        query("DROP ROLE steeple_app")


@pytest.fixture
def role_url(owner: Query, empty_database_url: str) -> str:
    return empty_database_url.replace("://steeple@", "://steeple_app@", 1)


def test_the_role_can_change_no_schema(role_url: str) -> None:
    with psycopg.connect(libpq_url(role_url), autocommit=True) as connection:
        assert connection.info.user == "steeple_app"
        for statement in _FORBIDDEN:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


@pytest.fixture
def parts(role_url: str, broker_url: str, tmp_path: Path) -> Iterator[Parts]:
    environment = {"STEEPLE_DATABASE_URL": role_url, "STEEPLE_BROKER_URL": broker_url}
    with installed(tmp_path, STEEPLE_AUTO_UPGRADE="false", STEEPLE_RETENTION="1h", **environment) as found:
        yield found


def test_every_kind_of_job_runs_as_that_role(parts: Parts, owner: Query) -> None:
    api = parts.start_all()
    assert owner(_WHO_IS_THERE) == [("steeple_app",)]
    success = api.submit("security.echo", {"value": 1}, unique_key="u", tags=["t"])
    retried = api.submit("security.flaky")
    failed = api.submit("security.fail")
    waiting = api.submit("security.wait")
    assert api.ended(success)["result"] == 1
    assert (api.ended(retried)["state"], api.ended(retried)["result"]) == ("SUCCESS", 2)
    assert api.ended(failed)["state"] == "FAILED"
    assert wait_until(lambda: api.ask("GET", f"/v1/jobs/{waiting}/logs").json()["logs"] != [], PATIENCE), parts.said
    assert api.ask("POST", f"/v1/jobs/{waiting}/cancel").status_code == 202
    assert api.ended(waiting)["state"] == "CANCELLED"
    later = api.submit("security.echo", delay=3600)
    assert api.ask("PATCH", f"/v1/jobs/{later}", json={"priority": "low"}).status_code == 200
    assert api.ask("POST", f"/v1/jobs/{later}/cancel").status_code == 202
    assert api.ask("POST", f"/v1/jobs/{failed}/retry").status_code == 202
    assert api.ended(failed)["state"] == "FAILED"
    for path in (
        "/v1/jobs?q=security",
        f"/v1/jobs/{failed}/attempts",
        "/v1/tasks",
        "/v1/queues",
        "/v1/workers",
        "/metrics",
    ):
        assert api.ask("GET", path).status_code == 200
    assert_housekeeping(parts, owner)


def assert_housekeeping(parts: Parts, owner: Query) -> None:
    """Finished jobs are counted, those past their retention go, and what is expired ends."""
    assert wait_until(lambda: owner("SELECT sum(jobs) >= 5 FROM finished_totals") == [(True,)], PATIENCE), parts.said
    owner("UPDATE jobs SET finished_at = finished_at - interval '1 day' WHERE finished_at IS NOT NULL")
    parts.start("scheduler")  # a scheduler prunes as it begins, and then not for half a minute
    assert wait_until(lambda: owner("SELECT count(*) FROM jobs") == [(0,)], PATIENCE), parts.said
    for command in (["keys", "create", "one", "--scope", "read"], ["keys", "list"], ["doctor"]):
        done = parts.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert [part.stop() for part in parts.parts] == [0] * len(parts.parts)
    assert "permission denied" not in parts.said
    assert "InsufficientPrivilege" not in parts.said


def test_without_the_schema_a_part_says_so_and_ends(empty_database_url: str, tmp_path: Path) -> None:
    with installed(tmp_path, STEEPLE_DATABASE_URL=empty_database_url, STEEPLE_AUTO_UPGRADE="false") as parts:
        done = parts.run("api", "--port", "0")
    assert done.returncode == 2
    assert "run `steeple db upgrade`" in done.stderr

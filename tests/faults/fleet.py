"""Real processes of Steeple, some of each kind, on a PostgreSQL and a Valkey of their own, with a network between."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psycopg
from postgres_proxy import PostgresProxy
from proxy import Proxy

from parts import Part, free_port
from servers import libpq_url
from steeple.embedded.directories import socket_directory
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.processes import wait_until
from steeple.embedded.valkey import EmbeddedValkey
from steeple.store.migrate import upgrade

PATIENCE = 60.0

APP = "fault_tasks:app"

QUICK = {
    "STEEPLE_HEARTBEAT_INTERVAL": "0.5",
    "STEEPLE_WORKER_DEAD_AFTER": "2",
    "STEEPLE_KILL_AFTER": "1",
    "STEEPLE_SHUTDOWN_GRACE": "1",
    "STEEPLE_LOG_FORMAT": "json",
}
"""Short leases, so that a fault and its recovery take seconds."""


@dataclass(frozen=True)
class Shape:
    """How many of each; ``slots`` is per worker."""

    apis: int = 1
    schedulers: int = 1
    workers: int = 2
    slots: int = 2


def _path() -> str:
    """Where parts find the tasks, before whatever the tests themselves were given."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))


class Servers:
    """A PostgreSQL and a Valkey, and the proxies through which parts reach them."""

    def __init__(self, folder: Path, *, fast: bool = True, address: str = "") -> None:
        sockets = socket_directory(folder / "postgres")
        self.postgres = EmbeddedPostgres(folder / "postgres", sockets, fast=fast, address=address)
        self.valkey = EmbeddedValkey(folder / "valkey", socket_directory(folder / "valkey"))
        self.start()
        upgrade(self.postgres.url())
        self.database_line = PostgresProxy(self.postgres.socket_dir / ".s.PGSQL.5432")
        self.broker_line = Proxy(self.valkey.socket_path)

    def start(self) -> None:
        """Each where it belongs."""
        self.postgres.start()
        self.valkey.start()

    def close(self) -> None:
        for line in (self.database_line, self.broker_line):
            line.close()
        for server in (self.postgres, self.valkey):
            server.stop()

    @property
    def addresses(self) -> dict[str, str]:
        """As the parts are told."""
        return {
            "STEEPLE_DATABASE_URL": f"postgresql://steeple@127.0.0.1:{self.database_line.port}/steeple",
            "STEEPLE_BROKER_URL": f"redis://127.0.0.1:{self.broker_line.port}/0",
        }

    def heal(self) -> None:
        """Start again what is down, and let the lines flow."""
        for server in (self.postgres, self.valkey):
            if server.exit_status() is not None:
                server.start()
            else:
                os.kill(server.pid, signal.SIGCONT)
        self.database_line.heal()
        self.broker_line.heal()

    def query(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Straight to the server, past the proxy."""
        with psycopg.connect(libpq_url(self.postgres.url()), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []


class Fleet:
    """Keep to the main thread for whatever starts a process."""

    def __init__(self, folder: Path, servers: Servers, shape: Shape | None = None, *, quick: bool = True) -> None:
        """Unless it is to be ``quick``, with the settings that parts have when nobody sets any."""
        self._folder = folder
        self.servers = servers
        settings = QUICK if quick else {}
        self._environment = settings | servers.addresses | {"PYTHONPATH": _path()}
        self._started = 0
        self.shape = shape or Shape()
        self.apis: list[Part] = []
        self.schedulers: list[Part] = []
        self.workers: list[Part] = []

    def start(self) -> None:
        """Bring every kind to its number; return when all that run are ready."""
        for parts, wanted, begin in self._kinds():
            parts[:] = [part for part in parts if part.is_running]
            parts.extend(begin() for _ in range(wanted - len(parts)))
        assert wait_until(self._are_ready, PATIENCE), self.said

    def heal(self) -> None:
        """Mend the servers and the lines, let go on what was stopped, replace what is dead."""
        self.servers.heal()
        for part in self.parts:
            if part.is_running:
                for pid in (part.pid, *part.children()):
                    os.kill(pid, signal.SIGCONT)
        self.start()

    def close(self) -> None:
        for part in self.parts:
            part.kill()

    @property
    def parts(self) -> list[Part]:
        return [*self.apis, *self.schedulers, *self.workers]

    @property
    def said(self) -> str:
        """The end of what each part said."""
        return "\n".join(f"--- {log.name}\n{_end(log.read_text())}" for log in sorted(self._folder.glob("*.log")))

    def urls(self) -> list[str]:
        """Of every api that runs."""
        return [self._url(api) for api in self.apis if api.is_running]

    @contextmanager
    def guest(self, kind: str, **environment: str) -> Iterator[Part]:
        """One more part for the length of the block, which takes part in all that is done to the fleet."""
        parts, begin = {
            "api": (self.apis, self.start_api),
            "scheduler": (self.schedulers, self.start_scheduler),
            "worker": (self.workers, self.start_worker),
        }[kind]
        guest = begin(**environment)
        parts.append(guest)
        assert wait_until(lambda: self.is_ready(guest), PATIENCE), self.said
        try:
            yield guest
        finally:
            guest.kill()
            if guest in parts:
                parts.remove(guest)

    def start_api(self, **environment: str) -> Part:
        """An api that knows its tasks by what workers registered, as an operator's does."""
        return self._part("api", port=str(free_port()), **environment)

    def start_scheduler(self, **environment: str) -> Part:
        return self._part("scheduler", **environment)

    def start_worker(self, **environment: str) -> Part:
        return self._part("worker", APP, "--slots", str(self.shape.slots), **environment)

    def worker_id(self, worker: Part) -> object:
        """As it is in the database; None if it has no live row."""
        rows = self.servers.query("SELECT id FROM workers WHERE name LIKE %s AND ended_at IS NULL", f"%:{worker.pid}")
        return rows[0][0] if rows else None

    def is_ready(self, part: Part) -> bool:
        """Dead parts count as ready: there is nothing to wait for."""
        if not part.is_running:
            return True
        match part.words[0]:
            case "api":
                return self._answers(part)
            case "scheduler":
                return "scheduler_started" in part.said
            case _:
                return self.worker_id(part) is not None and len(part.children()) >= self.shape.slots

    def _are_ready(self) -> bool:
        return all(self.is_ready(part) for part in self.parts)

    def _answers(self, part: Part) -> bool:
        try:
            return httpx2.get(f"{self._url(part)}/readyz", trust_env=False, timeout=5.0).is_success
        except httpx2.TransportError:
            return False

    def _kinds(self) -> Iterator[tuple[list[Part], int, Callable[[], Part]]]:
        yield self.apis, self.shape.apis, self.start_api
        yield self.schedulers, self.shape.schedulers, self.start_scheduler
        yield self.workers, self.shape.workers, self.start_worker

    def _part(self, *words: str, port: str | None = None, **environment: str) -> Part:
        self._started += 1
        own: Mapping[str, str] = self._environment | environment
        options = () if port is None else ("--port", port)
        return Part((*words, *options), self._folder / f"{self._started:02}-{words[0]}.log", own)

    @staticmethod
    def _url(part: Part) -> str:
        return f"http://127.0.0.1:{part.words[part.words.index('--port') + 1]}"


@contextmanager
def servers_in(folder: Path, *, fast: bool = True) -> Iterator[Servers]:
    servers = Servers(folder, fast=fast)
    try:
        yield servers
    finally:
        servers.close()


def _end(text: str, lines: int = 10) -> str:
    """But for what became of each attempt, which the history tells better."""
    return "\n".join([line for line in text.splitlines() if "attempt_ended" not in line][-lines:])

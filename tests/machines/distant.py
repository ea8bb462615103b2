"""A fleet and its servers, each on a host of its own. Clients are on the api's host, as behind a proxy there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from fleet import Fleet, Servers, Shape
from network import Network

from parts import Part

HOSTS = ("api", "scheduler", "worker-1", "worker-2", "postgres", "valkey")
SERVERS = ("postgres", "valkey")
PARTS = tuple(host for host in HOSTS if host not in SERVERS)

_BROKER_PORT = 6379

_OPEN_VALKEY = {"protected-mode": "no", "port": str(_BROKER_PORT)}

_BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE client_addr = CAST(%s AS inet)"

_ASKED_LAST = (
    "SELECT max(query_start) > CAST(%s AS timestamptz) FROM pg_stat_activity WHERE client_addr = CAST(%s AS inet)"
)


class DistantServers(Servers):
    """They are reached over real TCP. Tests themselves go by Unix sockets, past every cut."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.network = network
        super().__init__(folder, address=network.address("postgres"))

    def start(self) -> None:
        with self.network.inside("postgres"):
            self.postgres.start()
        with self.network.inside("valkey"):
            self.valkey.start()
        self._open_postgres()
        self._open_valkey()

    def heal(self) -> None:
        """Also the cables. The servers themselves are not broken here."""
        self.network.heal()

    @property
    def addresses(self) -> dict[str, str]:
        return {
            "STEEPLE_DATABASE_URL": f"postgresql://steeple@{self.network.address('postgres')}/steeple",
            "STEEPLE_BROKER_URL": f"redis://{self.network.address('valkey')}:{_BROKER_PORT}/0",
        }

    def backends_of(self, host: str) -> int:
        """How many connections from there PostgreSQL believes to have."""
        return int(str(self.query(_BACKENDS, self.network.address(host))[0][0]))

    def has_heard_from(self, host: str, since: object) -> bool:
        """PostgreSQL was asked something from there."""
        return self.query(_ASKED_LAST, since, self.network.address(host)) == [(True,)]

    def _open_postgres(self) -> None:
        rules = self.postgres.data_dir / "pg_hba.conf"
        with rules.open("a") as file:
            file.write(f"host all all {self.network.address('postgres')}/24 trust\n")
        self.query("SELECT pg_reload_conf()")

    def _open_valkey(self) -> None:
        with redis.Redis(unix_socket_path=str(self.valkey.socket_path)) as client:
            for name, value in _OPEN_VALKEY.items():
                client.config_set(name, value)
            client.config_set("bind", self.network.address("valkey"))


class DistantFleet(Fleet):
    """One part to a host."""

    def __init__(self, folder: Path, servers: DistantServers, *, quick: bool = True) -> None:
        super().__init__(folder, servers, Shape(workers=2, slots=2), quick=quick)
        self.network = servers.network
        self._homes: dict[Part, str] = {}

    def start_api(self, **environment: str) -> Part:
        with self._free_host("api") as host:
            return self._settle(host, super().start_api(**environment))

    def start_scheduler(self, **environment: str) -> Part:
        with self._free_host("scheduler") as host:
            return self._settle(host, super().start_scheduler(**environment))

    def start_worker(self, **environment: str) -> Part:
        with self._free_host("worker") as host:
            return self._settle(host, super().start_worker(**environment))

    def on(self, host: str) -> Part:
        """The part that runs there."""
        return next(part for part, home in self._homes.items() if home == host and part.is_running)

    @contextmanager
    def _free_host(self, kind: str) -> Iterator[str]:
        taken = {home for part, home in self._homes.items() if part.is_running}
        host = next(host for host in PARTS if host.startswith(kind) and host not in taken)
        with self.network.inside(host):
            yield host

    def _settle(self, host: str, part: Part) -> Part:
        self._homes[part] = host
        return part


@contextmanager
def distant_servers_in(folder: Path, network: Network) -> Iterator[DistantServers]:
    servers = DistantServers(folder, network)
    try:
        yield servers
    finally:
        servers.close()

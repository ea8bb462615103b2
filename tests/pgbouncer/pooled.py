"""The servers of a fleet, with PgBouncer between its parts and PostgreSQL. Tests themselves go past it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bouncer import PgBouncer
from fleet import Servers

from steeple.settings import Settings

FRESH = "fresh"
"""A database that the tests may make."""


class PooledServers(Servers):
    def __init__(self, folder: Path, *, max_prepared_statements: int | None) -> None:
        super().__init__(folder)
        self.bouncer = PgBouncer(
            folder / "pgbouncer", self.postgres, FRESH, max_prepared_statements=max_prepared_statements
        )
        self.bouncer.start()

    @property
    def addresses(self) -> dict[str, str]:
        return super().addresses | {"STEEPLE_DATABASE_URL": self.bouncer.url()}

    @property
    def settings(self) -> Settings:
        """Of a program that submits."""
        found = self.addresses
        return Settings(database_url=found["STEEPLE_DATABASE_URL"], broker_url=found["STEEPLE_BROKER_URL"])

    def heal(self) -> None:
        super().heal()
        if not self.bouncer.is_running:
            self.bouncer.start()

    def close(self) -> None:
        self.bouncer.kill()
        super().close()


@contextmanager
def pooled_servers_in(folder: Path, max_prepared_statements: int | None) -> Iterator[PooledServers]:
    servers = PooledServers(folder, max_prepared_statements=max_prepared_statements)
    try:
        yield servers
    finally:
        servers.close()

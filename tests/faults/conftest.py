"""A fleet that the rows use one after the other, on servers of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet import Fleet, Servers, servers_in
from recorder import Recorder
from stage import Stage


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers_in(tmp_path_factory.mktemp("servers")) as found:
        yield found


@pytest.fixture(scope="session")
def recorder(servers: Servers) -> Recorder:
    found = Recorder(servers.postgres.url())
    found.install()
    return found


@pytest.fixture(scope="session")
def shared_fleet(servers: Servers, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One of each, two workers: whatever a row does to it is healed before the next."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), servers)
    fleet.start()
    yield fleet
    fleet.close()


@pytest.fixture
def stage(shared_fleet: Fleet, servers: Servers, recorder: Recorder, tmp_path: Path) -> Iterator[Stage]:
    shared_fleet.heal()
    yield Stage(shared_fleet, servers, recorder, tmp_path / "effects")
    shared_fleet.heal()

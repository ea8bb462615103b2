"""Six hosts, with a part or a server on each, which the rows use one after the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from distant import HOSTS, DistantFleet, DistantServers, distant_servers_in
from network import CannotBuild, Network
from recorder import Recorder
from stage import Stage


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    try:
        found = Network(HOSTS)
    except CannotBuild as error:
        pytest.skip(f"several machines: {error}")
    yield found
    found.close()


@pytest.fixture(scope="session")
def servers(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DistantServers]:
    with distant_servers_in(tmp_path_factory.mktemp("distant"), network) as found:
        Recorder(found.postgres.url()).install()
        yield found


@pytest.fixture(scope="session")
def fleet(servers: DistantServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DistantFleet]:
    found = DistantFleet(tmp_path_factory.mktemp("fleet"), servers)
    yield found
    found.close()


@pytest.fixture
def stage(fleet: DistantFleet, servers: DistantServers, tmp_path: Path) -> Iterator[Stage]:
    """Its clients are on the api's host."""
    with servers.network.inside("api"):
        fleet.heal()
        yield Stage(fleet, servers, Recorder(servers.postgres.url()), tmp_path / "effects")
        fleet.heal()

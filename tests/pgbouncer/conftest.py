"""A fleet that reaches its database through PgBouncer only, used by one test after the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bouncer import Missing, binary, require_prepared_statements
from fleet import Fleet
from pooled import PooledServers, pooled_servers_in
from recorder import Recorder
from stage import Stage

_PREPARED = [None, pytest.param(0, marks=pytest.mark.soak), pytest.param(200, marks=pytest.mark.soak)]
"""``max_prepared_statements``; None: whatever is PgBouncer's default."""


@pytest.fixture(scope="session", params=_PREPARED, ids=lambda value: f"{value}_prepared")
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PooledServers]:
    try:
        binary()
        if request.param is not None:
            require_prepared_statements()
    except Missing as missing:
        pytest.skip(f"behind PgBouncer: {missing}")
    with pooled_servers_in(tmp_path_factory.mktemp("pooled"), request.param) as found:
        Recorder(found.postgres.url()).install()
        yield found


@pytest.fixture(scope="session")
def shared_fleet(servers: PooledServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), servers)
    fleet.start()
    yield fleet
    fleet.close()


@pytest.fixture
def stage(shared_fleet: Fleet, servers: PooledServers, tmp_path: Path) -> Iterator[Stage]:
    shared_fleet.heal()
    yield Stage(shared_fleet, servers, Recorder(servers.postgres.url()), tmp_path / "effects")
    shared_fleet.heal()

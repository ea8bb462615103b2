"""One server for the tests of a file, over a database that each of them finds empty."""

from collections.abc import Iterator

import pytest
from running_api import Api, make_app, running

from playground import Playground
from steeple import Settings


@pytest.fixture(scope="module")
def server(shared_database_url: str) -> Iterator[Api]:
    settings = Settings(database_url=shared_database_url, broker_url=None)
    with running(settings, make_app(settings)) as api:
        yield api


@pytest.fixture
def api(server: Api, playground: Playground) -> Api:
    """Open to everyone on this machine, and without a broker; behind it is the ``playground``."""
    return server

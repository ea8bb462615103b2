"""The API that the client and the command line are tested against: the real one, or for tests of faults its double."""

from collections.abc import Iterator

import pytest
from contract_api import Memory, Stage, serving


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with serving() as found:
        yield found


@pytest.fixture
def memory() -> Memory:
    """What the double of the API keeps, and the refusals that it is to answer with. Only for tests of faults."""
    return Memory()


@pytest.fixture
def api_url(request: pytest.FixtureRequest) -> str:
    """The real API with a worker, for tests that need no more than the contract; its double for those with a memory."""
    if "memory" not in request.fixturenames:
        url: str = request.getfixturevalue("installation_url")
        return url
    stage: Stage = request.getfixturevalue("stage")
    return stage.show(request.getfixturevalue("memory"))

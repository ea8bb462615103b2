"""The API that the client is tested against."""

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
def api_url(stage: Stage, memory: Memory) -> str:
    """POINT THIS TO THE REAL API: tests that take ``api_url`` without ``memory`` use only what the contract promises
    and the demo tasks, with a worker running."""
    return stage.show(memory)

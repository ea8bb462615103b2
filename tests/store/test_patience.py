"""A server that does not answer holds nobody for ever: the connection counts as lost, and the next one works."""

import asyncio

import pytest
from sqlalchemy import text

from playground import Playground
from steeple.settings import Settings
from steeple.store import patience
from steeple.store.engine import DatabaseError, create_aio_engine, is_away

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_WAIT", 0.3)


def test_a_server_that_hangs_counts_as_away(playground: Playground) -> None:
    with pytest.raises(DatabaseError) as caught:
        playground.sql("SELECT pg_sleep(20)")
    assert is_away(caught.value)
    assert caught.value.connection_invalidated
    assert playground.value("SELECT 1") == 1


def test_a_server_that_hangs_counts_as_away_for_asyncio_too(playground: Playground) -> None:
    asyncio.run(_hang_and_go_on(playground.url))


async def _hang_and_go_on(url: str) -> None:
    engine = create_aio_engine(Settings(database_url=url), size=1)
    try:
        async with engine.connect() as connection:
            with pytest.raises(DatabaseError) as caught:
                await connection.execute(text("SELECT pg_sleep(20)"))
            assert is_away(caught.value)
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    finally:
        await engine.dispose()

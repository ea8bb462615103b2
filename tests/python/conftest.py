"""An app of each test's own, on a database of its own, and a plain engine to look behind its back."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from steeple import Settings, Steeple
from steeple.store.engine import create_engine
from steeple.store.reads import JobView, read_job


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = create_engine(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def app(settings: Settings) -> Iterator[Steeple]:
    app = Steeple(settings)
    yield app
    app.close()


@pytest.fixture
def stored(engine: Engine) -> Callable[[Any], JobView | None]:
    """What the database has of a handle's job."""

    def read(handle: Any) -> JobView | None:
        job_id: UUID = handle.id
        with engine.begin() as connection:
            return read_job(connection, job_id)

    return read


@pytest.fixture
def count(engine: Engine) -> Callable[[], int]:
    """How many jobs there are."""

    def read() -> int:
        with engine.begin() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar_one())

    return read

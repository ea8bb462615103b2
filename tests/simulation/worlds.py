"""A database in which time is simulated and everything recorded, for one world after the other."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial

import durability
import pytest
import simulated_time
from control import Control
from healing import world
from people import DEAD_AFTER, RETENTION
from recorder import Recorder
from shed import Shed
from world import World

from servers import database, libpq_url
from steeple import Settings
from steeple.embedded.postgres import EmbeddedPostgres

_numbers = itertools.count()
"""Each folder of tests that imports the fixture has a database of its own."""

Worlds = Callable[[], AbstractContextManager[World]]


@pytest.fixture(scope="session")
def worlds(postgres: EmbeddedPostgres, template: str) -> Iterator[Worlds]:
    """Makes worlds."""
    with database(postgres, f"simulated_{next(_numbers)}", template) as url:
        recorder = Recorder(url)
        recorder.install()
        settings = Settings(database_url=url, broker_url="memory://", worker_dead_after=DEAD_AFTER, retention=RETENTION)
        with closing(Control(libpq_url(url))) as control, closing(Shed(settings)) as shed:
            simulated_time.install(control)
            durability.install(control)
            yield partial(world, shed, control, recorder)

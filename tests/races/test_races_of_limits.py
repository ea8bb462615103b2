"""Many slots claim and finish jobs with limits at the same time."""

import random
import threading
from collections.abc import Sequence
from functools import partial

import pytest

from playground import Playground, end
from steeple.domain.job import Claim, ClaimedJob
from steeple.domain.limits import Limit
from steeple.domain.priority import Lane, Priority
from steeple.domain.states import State
from steeple.store import limits, transitions
from steeple.store.engine import Connection, in_transaction
from steeple.store.exchange import Claimant, exchange
from steeple.store.ruled_claims import claim_by_rules

_JOBS = 240
_SLOTS = 6
_KEYS = ("a", "b", "c")
_RUNNING = "SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND limits @> ARRAY[:key]"


class Slot(threading.Thread):
    """Claims, and lets go of what it has claimed in one way or another, until nothing is left to do for anyone."""

    def __init__(self, playground: Playground, claimant: Claimant, lanes: Sequence[Lane], seed: int) -> None:
        super().__init__()
        self._playground = playground
        self._claimant = claimant
        self._lanes = lanes
        self._random = random.Random(seed)
        self.most: dict[str, int] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while self._playground.value("SELECT count(*) FROM jobs WHERE state IN ('PENDING', 'RUNNING')"):
                lane = self._random.choice(self._lanes)
                jobs = in_transaction(self._playground.engine, partial(self._claim, lane=lane))
                in_transaction(self._playground.engine, partial(self._let_go, jobs=jobs))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def _claim(self, connection: Connection, lane: Lane) -> tuple[ClaimedJob, ...]:
        jobs = claim_by_rules(connection, self._claimant, lane, self._random.randint(1, 4)).jobs
        for key in _KEYS:
            running = connection.exec_driver_sql(_RUNNING.replace(":key", f"'{key}'")).scalar_one()
            self.most[key] = max(running, self.most.get(key, 0))
        return jobs

    def _let_go(self, connection: Connection, jobs: Sequence[ClaimedJob]) -> None:
        if jobs and self._random.random() < 0.2:
            transitions.release(connection, [Claim(job.id, job.fence) for job in jobs])
        else:
            exchange(connection, [end(job, State.SUCCESS) for job in jobs], self._claimant, 0)


@pytest.mark.parametrize("seed", range(3))
def test_no_limit_is_exceeded_and_every_job_gets_its_turn(playground: Playground, seed: int) -> None:
    allowed = {"a": 1, "b": 2, "c": 5}
    for key, most in allowed.items():
        in_transaction(playground.engine, partial(limits.set_limit, limit=Limit(key, most)))
    chosen = random.Random(seed)
    lanes = [Lane(queue, priority) for queue in ("q", "r") for priority in (Priority.HIGH, Priority.LOW)]
    for _ in range(_JOBS):
        keys = tuple(sorted(chosen.sample(_KEYS, chosen.randint(1, 3))))
        lane = chosen.choice(lanes)
        playground.add(now=None, limits=keys, queue=lane.queue, priority=lane.priority)
    slots = [Slot(playground, playground.worker(f"w{number}"), lanes, seed * 100 + number) for number in range(_SLOTS)]
    for slot in slots:
        slot.start()
    for slot in slots:
        slot.join(60)
    assert [slot.error for slot in slots] == [None] * _SLOTS
    assert not any(slot.is_alive() for slot in slots)
    assert {key: max(slot.most[key] for slot in slots) for key in _KEYS} == allowed
    assert playground.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") == _JOBS

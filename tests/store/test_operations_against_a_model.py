"""Operations among everything else that happens to jobs, in any order: whom they change, how often, and what they say.

The model is the list: what it shows when an operation is made is what the operation may change, each job once.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from operating import CANCEL, DELETE, MOVE, RAISE, RETRY, Operating
from playground import Playground, end
from steeple.domain.job import ClaimedJob
from steeple.domain.operation import OVER, Action, Order
from steeple.domain.states import State
from steeple.errors import OperationOver, StateConflict, UniqueKeyHeld
from steeple.store import operations, transitions
from steeple.store.exchange import Claimant
from steeple.store.listing import JobFilter, read_page

MOST_JOBS = 1000

_ALL = "SELECT id, state, fence, priority, queue, cancel_requested_at IS NOT NULL AS is_asked FROM jobs"

# Filters whose answer nothing but a job's end changes. A job may become pending again, and nobody knows since when.
FILTERS = (
    JobFilter(tasks=("t",)),
    JobFilter(states=(State.FAILED,)),
    JobFilter(states=(State.SUCCESS, State.CANCELLED)),
    JobFilter(queues=("q",)),
)

STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["q", "r"]), st.sampled_from([None, "k"])),
    st.tuples(st.just("claim")),
    st.tuples(st.just("finish"), st.sampled_from([State.SUCCESS, State.FAILED])),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("retry"), st.integers(0, 20)),
    st.tuples(st.just("make"), st.sampled_from([CANCEL, RETRY, DELETE, RAISE, MOVE]), st.sampled_from(FILTERS)),
    st.tuples(st.just("advance"), st.integers(0, 3), st.integers(1, 3)),
    st.tuples(st.just("abort"), st.integers(0, 3)),
)


@dataclass
class Known:
    """An operation with the jobs that it may change, and those that it has changed."""

    id: uuid.UUID
    order: Order
    covered: frozenset[uuid.UUID]
    changed: set[uuid.UUID] = field(default_factory=set)


class World:
    def __init__(self, playground: Playground) -> None:
        self.playground = playground
        self.operating = Operating(playground)
        self.claimant: Claimant = playground.worker()
        self.running: list[ClaimedJob] = []
        self.made: list[Known] = []

    def step(self, name: str, *facts: Any) -> None:
        getattr(self, name)(*facts)

    def add(self, queue: str, unique_key: str | None) -> None:
        with self.playground.engine.begin() as connection:
            key = "unique_key IS NOT DISTINCT FROM 'k' AND state IN ('PENDING', 'RUNNING')"
            is_held = connection.execute(text(f"SELECT count(*) FROM jobs WHERE {key}")).scalar_one()
        self.playground.add(now=None, queue=queue, unique_key=None if is_held else unique_key)

    def claim(self) -> None:
        self.running += self.playground.claim(self.claimant, now=None)

    def finish(self, state: State) -> None:
        if self.running:
            self.playground.finish(self.claimant, end(self.running.pop(), state), now=None)

    def cancel(self, number: int) -> None:
        self._change(number, transitions.cancel)

    def retry(self, number: int) -> None:
        self._change(number, transitions.retry)

    def _change(self, number: int, change: Any) -> None:
        ids = [row.id for row in self.playground.sql("SELECT id FROM jobs ORDER BY id")]
        if not ids:
            return
        with self.playground.engine.begin() as connection:
            try:
                change(connection, ids[number % len(ids)])
            except (StateConflict, UniqueKeyHeld):
                connection.rollback()

    def make(self, order: Order, wanted: JobFilter) -> None:
        with self.playground.engine.begin() as connection:
            covered = frozenset(job.id for job in read_page(connection, wanted, limit=MOST_JOBS).jobs)
        found = self.operating.make(order, wanted).operation
        assert found.total == len(covered)
        self.made.append(Known(found.id, order, covered))

    def advance(self, number: int, limit: int) -> None:
        if not self.made:
            return
        known = self.made[number % len(self.made)]
        before = self._jobs()
        self.operating.advance(known.id, limit)
        after = self._jobs()
        changed = {job_id for job_id, row in before.items() if after.get(job_id) != row}
        assert changed <= known.covered
        assert not changed & known.changed
        known.changed |= changed
        for job_id in changed:
            require_right(known.order.action, before[job_id], after.get(job_id))

    def abort(self, number: int) -> None:
        if self.made:
            with self.playground.engine.begin() as connection:
                try:
                    operations.abort_operation(connection, self.made[number % len(self.made)].id)
                except OperationOver:
                    connection.rollback()

    def settle(self) -> None:
        """Work everything off, and look at what it says of itself."""
        for number, known in enumerate(self.made):
            while self.operating.read(known.id).state not in OVER:
                self.advance(number, 2)
            found = self.operating.read(known.id)
            assert len(known.changed) <= found.done <= len(known.covered)
            if found.state == "DONE":
                assert found.done + found.skipped == found.total == len(known.covered)

    def _jobs(self) -> dict[uuid.UUID, Any]:
        return {row.id: tuple(row)[1:] for row in self.playground.sql(_ALL)}


def require_right(action: Action, before: Any, after: Any) -> None:
    """What was done is what the action does, and the fence tells."""
    state, fence, *_ = before
    match action:
        case Action.CANCEL if state == "PENDING":
            assert after[:2] == ("CANCELLED", fence + 1)
        case Action.CANCEL:
            assert (state, after[:2], after[-1]) == ("RUNNING", ("RUNNING", fence), True)
        case Action.RETRY:
            assert (state in ("SUCCESS", "FAILED", "CANCELLED"), after[:2]) == (True, ("PENDING", fence + 1))
        case Action.DELETE:
            assert (state == "RUNNING", after) == (False, None)
        case Action.REPRIORITISE | Action.MOVE:
            assert (state, after[:2]) == ("PENDING", ("PENDING", fence))


@given(steps=st.lists(STEPS, min_size=5, max_size=40))
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_operations_change_what_the_list_showed_and_each_job_once(playground: Playground, steps: list[Any]) -> None:
    for table in ("operations", "jobs", "workers"):
        playground.sql(f"DELETE FROM {table}")
    world = World(playground)
    for step in steps:
        world.step(*step)
    world.settle()

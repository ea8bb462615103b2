"""Jobs that wait for each other at random, ended at random, in any order and at once: each ends as a model says, and
none begins before its parents have ended."""

import random
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from playground import Playground, end
from steeple.domain.job import Finish, Hold, NewJob, ParentFailure
from steeple.domain.states import TERMINAL, State
from steeple.embedded.processes import wait_until
from steeple.store.children import confirm, insert_some
from steeple.store.engine import in_transaction
from steeple.store.exchange import Claimant, exchange

GAMES = 40
OUTCOMES = (State.SUCCESS, State.SUCCESS, State.SUCCESS, State.FAILED, State.CANCELLED)

Fate = tuple[State, str | None]


@dataclass
class Graph:
    """``outcomes``: how each job ends if it runs. Parents come before their children."""

    jobs: list[NewJob] = field(default_factory=list)
    outcomes: dict[UUID, State] = field(default_factory=dict)

    @classmethod
    def draw(cls, chance: random.Random, size: int, fan: int) -> "Graph":
        graph = cls()
        for _ in range(size):
            known = [job.id for job in graph.jobs]
            parents = chance.sample(known, min(len(known), chance.randint(0, fan)))
            policy = chance.choice((ParentFailure.CANCEL, *ParentFailure))
            graph.jobs.append(NewJob(uuid7(), "t", "{}", after=tuple(parents), on_parent_failure=policy))
            graph.outcomes[graph.jobs[-1].id] = chance.choice(OUTCOMES)
        return graph

    def fates(self) -> dict[UUID, Fate]:
        """How each job is in the end, by the rules alone."""
        fates: dict[UUID, Fate] = {}
        for job in self.jobs:
            fates[job.id] = self._fate(job, [fates[parent][0] for parent in job.after])
        return fates

    def _fate(self, job: NewJob, parents: list[State]) -> Fate:
        has_failed = not {State.FAILED, State.CANCELLED}.isdisjoint(parents)
        if has_failed and job.on_parent_failure is ParentFailure.CANCEL:
            return State.CANCELLED, None
        if has_failed and job.on_parent_failure is ParentFailure.HOLD:
            return State.PENDING, Hold.PARENT_FAILED
        if not TERMINAL.issuperset(parents):
            return State.PENDING, Hold.PARENTS
        return self.outcomes[job.id], None


@dataclass
class Game:
    """Moves that are made until none is left."""

    playground: Playground
    claimant: Claimant
    graph: Graph
    chance: random.Random
    stored: int = 0
    unconfirmed: list[UUID] = field(default_factory=list)
    running: dict[UUID, Finish] = field(default_factory=dict)

    def play(self) -> None:
        idle = 0
        while idle < 3:
            moves = [self.submit, self.confirm, self.claim, self.finish]
            self.chance.shuffle(moves)
            has_moved = [move() for move in moves]
            idle = 0 if any(has_moved) else idle + 1

    def submit(self) -> bool:
        jobs = self.graph.jobs[self.stored : self.stored + self.chance.randint(1, 4)]
        with self.playground.engine.begin() as connection:
            insert_some(connection, self.chance.sample(jobs, len(jobs)))
        self.stored += len(jobs)
        self.unconfirmed += [job.id for job in jobs if job.after]
        return bool(jobs)

    def confirm(self) -> bool:
        self.chance.shuffle(self.unconfirmed)
        some = [self.unconfirmed.pop() for _ in range(min(len(self.unconfirmed), self.chance.randint(0, 3)))]
        in_transaction(self.playground.engine, lambda connection: confirm(connection, some))
        return bool(some or self.unconfirmed)

    def claim(self) -> bool:
        jobs = self.playground.claim(self.claimant, self.chance.randint(1, 4), now=None)
        ended = {row.id for row in self.playground.sql("SELECT id FROM jobs WHERE finished_at IS NOT NULL")}
        parents = {job.id: set(job.after) for job in self.graph.jobs}
        assert all(parents[job.id] <= ended for job in jobs)
        self.running |= {job.id: end(job, self.graph.outcomes[job.id]) for job in jobs}
        return bool(jobs)

    def finish(self) -> bool:
        some = self.chance.sample(sorted(self.running), min(len(self.running), self.chance.randint(0, 3)))
        self.playground.finish(self.claimant, *(self.running.pop(job_id) for job_id in some), now=None)
        return bool(some or self.running)


def fates_of(playground: Playground) -> dict[UUID, Fate]:
    rows = playground.sql("SELECT id, state, held_by FROM jobs")
    return {row.id: (State(row.state), row.held_by) for row in rows}


@pytest.mark.parametrize("seed", range(GAMES))
def test_each_ends_as_the_model_says(playground: Playground, seed: int) -> None:
    chance = random.Random(seed)
    graph = Graph.draw(chance, size=14, fan=4)
    Game(playground, playground.worker(), graph, chance).play()
    assert fates_of(playground) == graph.fates()


@pytest.mark.parametrize("is_by_witness", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_and_with_several_at_work_at_once(playground: Playground, seed: int, is_by_witness: bool) -> None:
    """Who ends parents of the same children at the same moment, while others are confirmed."""
    with playground.always_by_witness() if is_by_witness else nullcontext():
        _play_at_once(playground, seed)


def _play_at_once(playground: Playground, seed: int) -> None:
    chance = random.Random(seed)
    graph = Graph.draw(chance, size=120, fan=8)
    claimants = [playground.worker() for _ in range(4)]
    faults: list[BaseException] = []

    def work(claimant: Claimant) -> None:
        engine = playground.engine.execution_options(isolation_level="AUTOCOMMIT")
        finishes: list[Finish] = []
        try:
            while not is_over.is_set():
                jobs = in_transaction(engine, partial(exchange, finishes=finishes, claimant=claimant, limit=6)).jobs
                finishes = [end(job, graph.outcomes[job.id]) for job in jobs]
        except BaseException as fault:  # noqa: BLE001 - the test looks at it
            faults.append(fault)

    is_over = threading.Event()
    threads = [threading.Thread(target=work, args=[claimant]) for claimant in claimants]
    for thread in threads:
        thread.start()
    for start in range(0, len(graph.jobs), 10):
        part = graph.jobs[start : start + 10]
        with playground.engine.begin() as connection:
            insert_some(connection, part)
        playground.confirm(*(job.id for job in part if job.after))
    expected = graph.fates()
    is_done = wait_until(lambda: bool(faults) or fates_of(playground) == expected, 30)
    is_over.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert is_done, expected.items() ^ fates_of(playground).items()

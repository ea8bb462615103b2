"""Every rule together with every other: once what holds jobs up is gone, each ends as it must, and no limit was
exceeded on the way."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from playground import Playground, end
from steeple.domain.job import ClaimedJob
from steeple.domain.limits import Block, Limit, Rate
from steeple.domain.operation import Action, HeldJob, Order
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.store import bulk, limits, queue_settings, transitions
from steeple.store.engine import in_transaction
from steeple.store.exchange import Claimant
from steeple.store.parking import unpark
from steeple.store.queue_settings import QueueChange
from steeple.store.ruled_claims import claim_by_rules

_JOBS = 4
_QUEUES = ("default", "elsewhere")
_SECONDS = 20.0
_RATE = Rate(50, 1.0, burst=1)


class _Play:
    """Some jobs that all have the same rules, and the worker that runs them."""

    def __init__(self, playground: Playground) -> None:
        self.playground = playground
        self.ids: list[UUID] = []
        self.fields: dict[str, Any] = {}
        self.failing: set[UUID] = set()
        self.wanted: dict[UUID, set[State]] = {}
        self.parents: tuple[UUID, ...] = ()
        self.most: Counter[str] = Counter()

    def do(self, act: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return in_transaction(self.playground.engine, lambda connection: act(connection, *given, **named))

    def submit(self, parent: UUID | None) -> None:
        """Jobs with the fields of both rules; some rules make a field of its own for each job."""
        for number in range(_JOBS):
            fields = {name: value(number) if callable(value) else value for name, value in self.fields.items()}
            if parent is None:
                self.ids.append(self.playground.add(now=None, **fields))
            else:
                self.ids.append(self.playground.add_after(parent, **fields))
        self.wanted = {job_id: {State.SUCCESS} for job_id in self.ids}

    def limit(self, limit: Limit) -> None:
        self.do(limits.set_limit, limit)
        self.fields["limits"] = tuple(sorted({*self.fields.get("limits", ()), limit.key}))

    def run(self, claimant: Claimant) -> None:
        """Claim and finish, one after the other, until nothing is active."""
        ends = monotonic() + _SECONDS
        while self.playground.value("SELECT count(*) FROM jobs WHERE state IN ('PENDING', 'RUNNING')"):
            assert monotonic() < ends, self.left()
            jobs = self._claim(claimant)
            self._count()
            for job in jobs:
                self.playground.finish(claimant, self._end(job), now=None)
            self.do(transitions.expire)
            for key in self.fields.get("limits", ()):
                self.do(unpark, block=Block.RATE, key=key)

    def left(self) -> list[Any]:
        return list(
            self.playground.sql("SELECT id, state, queue, priority, held_by, run_at, limits, fair_key FROM jobs")
        )

    def _claim(self, claimant: Claimant) -> tuple[ClaimedJob, ...]:
        exchanged = self.playground.exchange(claimant, limit=3, now=None)
        if exchanged.ruled is None or exchanged.jobs:
            return exchanged.jobs
        jobs: tuple[ClaimedJob, ...] = self.do(claim_by_rules, claimant, exchanged.ruled, 3).jobs
        return jobs

    def _end(self, job: ClaimedJob) -> Any:
        if job.id in self.failing:
            self.failing.discard(job.id)
            return end(job, State.PENDING, retry_in=0.01)
        return end(job, State.SUCCESS)

    def _count(self) -> None:
        running = self.playground.sql("SELECT queue, limits FROM jobs WHERE state = 'RUNNING'")
        now = Counter(key for row in running for key in (row.queue, *(row.limits or ())))
        self.most |= now


def _nothing(play: _Play) -> None:
    """A rule that is in the fields of a job alone."""


@dataclass(frozen=True)
class _Rule:
    """``before`` the jobs are submitted, once they are (``after``), and when what holds them up goes (``free``)."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[_Play], None] = _nothing
    after: Callable[[_Play], None] = _nothing
    free: Callable[[_Play], None] = _nothing


def _add_parent(play: _Play) -> None:
    play.parents = (play.playground.add(now=None, queue="parents", delay=3600.0),)


def _run_parent(play: _Play) -> None:
    play.playground.sql("UPDATE jobs SET run_at = now() WHERE queue = 'parents'")


def _expire(play: _Play) -> None:
    """Two of them, before any could start."""
    for job_id in play.ids[:2]:
        play.playground.sql("UPDATE jobs SET expires_at = now() - interval '1 s' WHERE id = :id", id=job_id)
        play.wanted[job_id] = {State.FAILED, *(play.wanted[job_id] - {State.SUCCESS})}


def _cancel(play: _Play) -> None:
    for job_id in play.ids[1:3]:
        play.do(transitions.cancel, job_id)
        play.wanted[job_id] = {State.CANCELLED}


def _fail_first(play: _Play) -> None:
    play.failing = set(play.ids)


def _in_bulk(play: _Play) -> None:
    held = [HeldJob(job_id, State.PENDING, None, None, None) for job_id in play.ids]
    now = play.playground.value("SELECT now()")
    play.do(bulk.act, Order(Action.REPRIORITISE, priority=Priority.HIGH), held[:2], now)
    play.do(bulk.act, Order(Action.MOVE, queue="elsewhere"), held[1:3], now)


def _set_queue(play: _Play, **values: Any) -> None:
    for name in _QUEUES:
        play.do(queue_settings.change, name, QueueChange(set(values), **values))


def _of_a_schedule(play: _Play) -> None:
    play.fields["schedule_id"] = uuid7()


def _pause(play: _Play) -> None:
    for name in _QUEUES:
        play.do(queue_settings.pause, name, by="us")


def _resume(play: _Play) -> None:
    for name in _QUEUES:
        play.do(queue_settings.resume, name)


_RULES: dict[str, _Rule] = {
    "schedule": _Rule(before=_of_a_schedule),
    "paused": _Rule(before=_pause, free=_resume),
    "limit": _Rule(before=lambda play: play.limit(Limit("k", max_running=2))),
    "rate": _Rule(before=lambda play: play.limit(Limit("r", rate=_RATE))),
    "queue limit": _Rule(before=partial(_set_queue, max_running=1)),
    "queue rate": _Rule(before=partial(_set_queue, rate=_RATE)),
    "fair": _Rule({"fair_key": lambda number: "xy"[number % 2]}),
    "unique": _Rule({"unique_key": lambda number: f"u{number}"}),
    "parents": _Rule(before=_add_parent, free=_run_parent),
    "priority": _Rule({"priority": lambda number: (Priority.LOW, Priority.HIGH)[number % 2]}),
    "run_at": _Rule({"delay": 0.05}),
    "expires": _Rule(after=_expire),
    "retry": _Rule(after=_fail_first),
    "cancel": _Rule(after=_cancel),
    "bulk": _Rule(after=_in_bulk),
}


@pytest.mark.parametrize(
    ("one", "other"), [pytest.param(*pair, id=" and ".join(pair)) for pair in combinations(_RULES, 2)]
)
def test_every_job_ends_as_it_must(playground: Playground, one: str, other: str) -> None:
    play, rules = _Play(playground), [_RULES[one], _RULES[other]]
    for rule in rules:
        play.fields |= rule.fields
    for rule in rules:
        rule.before(play)
    play.submit(play.parents[0] if play.parents else None)
    for rule in rules:
        rule.after(play)
    claimant = playground.worker()
    held_up = play._claim(claimant) if {"paused", "parents"} & {one, other} else ()
    assert held_up == ()
    for rule in rules:
        rule.free(play)
    play.run(claimant)
    ended = {job_id: {playground.read(job_id).state} for job_id in play.ids}
    assert all(ended[job_id] <= play.wanted[job_id] for job_id in play.ids), (ended, play.wanted)
    assert play.most["k"] <= 2
    if "queue limit" in (one, other):
        assert max(play.most[name] for name in _QUEUES) <= 1
    assert playground.value("SELECT count(*) FROM jobs WHERE held_by IS NOT NULL") == 0

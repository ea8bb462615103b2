"""A day of a busy fleet, five minutes at a time: priorities, turns by fair keys, limits, and the bound of waiting, all
together."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from uuid import UUID

from playground import Playground, end
from steeple.domain.job import ClaimedJob
from steeple.domain.limits import Limit
from steeple.domain.priority import Priority
from steeple.domain.states import State
from steeple.store import limits
from steeple.store.exchange import Claimant
from steeple.store.ruled_claims import claim_by_rules

_STEP = 300.0
_STEPS = 288
_BUSY = range(96, 240)
_SLOTS = 8
"""Each job takes a step. In the busy hours 12 come in one, 9 of them of high priority."""

_STARVATION = 3600.0
_DAWN = datetime.now(UTC) - timedelta(days=2)


@dataclass(frozen=True)
class _Came:
    """When a job came, and as what."""

    at: float
    priority: Priority
    fair_key: str | None


class _Day:
    def __init__(self, playground: Playground) -> None:
        self.playground = playground
        self.claimant: Claimant = playground.worker(starvation=_STARVATION)
        self.came: dict[UUID, _Came] = {}
        self.waits: dict[UUID, float] = {}
        self._low: Iterator[dict[str, Any]] = cycle([{}, {"limits": ("wide",)}, {"fair_key": "c"}])

    def submit(self, step: int) -> None:
        """Of high priority mostly those of one tenant, and a single one of another."""
        is_busy = step in _BUSY
        self._add(step, Priority.HIGH, 8 if is_busy else 1, fair_key="a")
        self._add(step, Priority.HIGH, 1, fair_key="b")
        self._add(step, Priority.DEFAULT, 2)
        self._add(step, Priority.LOW, 1, **next(self._low))

    def work(self, step: int) -> None:
        """Fill all slots with what may start, and finish it."""
        now, running = _at(step), list[ClaimedJob]()
        while len(running) < _SLOTS:
            jobs, is_over = self._claim(_SLOTS - len(running), now)
            running += jobs
            if is_over:
                break
        for job in running:
            if job.id in self.came:
                self.waits[job.id] = step * _STEP - self.came[job.id].at
        self.playground.finish(self.claimant, *(end(job, State.SUCCESS) for job in running), now=now)

    def _claim(self, limit: int, now: datetime) -> tuple[tuple[ClaimedJob, ...], bool]:
        """The jobs, and whether nothing else may start now."""
        exchanged = self.playground.exchange(self.claimant, limit=limit, now=now)
        if exchanged.jobs or exchanged.ruled is None:
            return exchanged.jobs, not exchanged.jobs
        with self.playground.engine.begin() as connection:
            ruled = claim_by_rules(
                connection, self.claimant, exchanged.ruled, limit, until=exchanged.ruled_until, now=now
            )
        return ruled.jobs, not ruled.jobs and not ruled.has_parked

    def _add(self, step: int, priority: Priority, count: int, **fields: Any) -> None:
        for job_id in self.playground.add_many(count, now=_at(step), priority=priority, **fields):
            self.came[job_id] = _Came(step * _STEP, priority, fields.get("fair_key"))


def _at(step: int) -> datetime:
    return _DAWN + timedelta(seconds=step * _STEP)


def test_a_day_with_every_rule_keeps_what_is_promised_of_waiting(playground: Playground) -> None:
    """Priorities first, whatever waits by an hour longer in between, single jobs soon, and what is closed in no way."""
    day = _Day(playground)
    with playground.engine.begin() as connection:
        for limit in (Limit("wide", max_running=1000), Limit("closed", max_running=0)):
            limits.set_limit(connection, limit)
    closed = playground.add_many(50, now=_at(0), priority=Priority.HIGH, limits=("closed",))
    for step in range(_STEPS):
        day.submit(step)
        day.work(step)
    longest: dict[Priority, float] = defaultdict(float)
    for job_id, came in day.came.items():
        wait = day.waits.get(job_id, _STEPS * _STEP - came.at)
        longest[came.priority] = max(longest[came.priority], wait)
    singles = [day.waits[job_id] for job_id, came in day.came.items() if came.fair_key == "b"]
    assert len(singles) == _STEPS
    assert max(singles) <= 2 * _STEP
    assert longest[Priority.HIGH] > _STARVATION  # or the bound would not have been put to the test
    assert longest[Priority.LOW] <= _STARVATION + longest[Priority.HIGH] + 2 * _STEP
    assert longest[Priority.DEFAULT] <= _STARVATION + longest[Priority.HIGH] + 2 * _STEP
    assert not any(job_id in day.waits for job_id in closed)
    assert playground.value("SELECT count(*) FROM jobs WHERE held_by = 'limit:closed'") == 50

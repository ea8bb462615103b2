"""Claims in a lane that has jobs with limits or fair keys: what may start is decided in ``domain``.

A queue's claims take turns (a lock for the queue), and so do all that count by the same key (a lock for each key, in
their order). What is counted under a lock includes all that was claimed under it before, since each statement sees what
was committed until it began.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from steeple.domain.fairness import NO_KEY, Sharer, after, take_turns
from steeple.domain.job import ClaimedJob
from steeple.domain.limits import Block, Use, admit
from steeple.domain.priority import Lane
from steeple.store import ruled_statements as statements
from steeple.store.exchange import Claimant, claimed_job
from steeple.store.limits import lock_keys, uses_of, write_tokens
from steeple.store.queue_limits import use_of_queue

_MOST_ROUNDS = 32
"""Of looking for jobs that may start, where limits put others aside: their locks should not be held for long."""

_MOST_KEYS = 256
"""Of one claim: each has a lock, of which the server holds some thousands in all."""

_MOST_AT_A_LOOK = 256


@dataclass(frozen=True)
class _Due:
    """A due job, as the rules see it."""

    id: UUID
    fair_key: str
    run_at: datetime
    limits: Sequence[str] | None
    goes_alone: bool


@dataclass(frozen=True)
class Ruled:
    """What came of a claim by rules. If only others were put aside, there may be more behind them."""

    jobs: tuple[ClaimedJob, ...]
    has_parked: bool


@dataclass
class _Claim:
    """One claim by rules, under way. ``lane`` and ``now`` are parameters of statements."""

    connection: Connection
    claimant: Claimant
    lane: Mapping[str, Any]
    now: datetime
    sharers: Sequence[Sharer]
    clock: float
    taken: list[_Due] = field(default_factory=list)
    parked: set[UUID] = field(default_factory=set)
    uses: dict[str, Use] = field(default_factory=dict)
    locked: set[str] = field(default_factory=set)

    def choose(self, limit: int, *, ahead: bool) -> None:
        """Take up to ``limit`` that may start; park those that a limit keeps from it."""
        left, most = list(self.sharers), limit
        for _ in range(_MOST_ROUNDS):
            due, left = self._look(left, most)
            if not due:
                return
            due = _until_a_loner(due, may_be_first=not self.taken and not ahead)
            due = self._countable(due)
            admission = admit(due, self.uses, limit - len(self.taken))
            self._park(due, admission.parked)
            started = set(admission.taken)
            self.taken += [job for job in due if job.id in started]
            if len(self.taken) == limit or any(job.goes_alone for job in self.taken):
                return
            if not admission.taken and not admission.parked:
                return
            most = _MOST_AT_A_LOOK if admission.parked else limit - len(self.taken)

    def write(self) -> tuple[ClaimedJob, ...]:
        """Make those that were taken run."""
        if not self.taken:
            return ()
        standing = after(self.sharers, self.clock, [job.fair_key for job in self.taken])
        if any(job.fair_key for job in self.taken) or len(self.sharers) > 1:
            keys, virtual = list(standing.virtual), list(standing.virtual.values())
            self.connection.execute(statements.SHARE, {**self.lane, "keys": keys, "virtual": virtual})
            self.connection.execute(statements.TICK, {**self.lane, "clock": standing.clock})
        write_tokens(self.connection, self.uses, self.now)
        values = {"ids": [job.id for job in self.taken], "now": self.now}
        values |= {"worker_id": self.claimant.worker_id, "slot": self.claimant.slot}
        return tuple(claimed_job(row) for row in self.connection.execute(statements.CLAIM, values))

    def _look(self, sharers: Sequence[Sharer], most: int) -> tuple[list[_Due], list[Sharer]]:
        """The next due jobs in the order of their turns, and the sharers that may have more."""
        moved = after(self.sharers, self.clock, [job.fair_key for job in self.taken])
        present = [replace(each, virtual=moved.virtual.get(each.key, each.virtual)) for each in sharers]
        order = take_turns(present, moved.clock, most)
        turns = Counter(order)
        waiting: dict[str, deque[_Due]] = defaultdict(deque)
        for job in self._due_of(turns):
            waiting[job.fair_key].append(job)
        left = [each for each in sharers if len(waiting[each.key]) == turns[each.key]]
        return [waiting[key].popleft() for key in order if waiting[key]], left

    def _due_of(self, turns: Mapping[str, int]) -> Iterable[_Due]:
        values = {**self.lane, "now": self.now, "taken": [job.id for job in self.taken]}
        values["tasks"] = None if self.claimant.tasks is None else list(self.claimant.tasks)
        if keyed := {key: count for key, count in turns.items() if key != NO_KEY}:
            parameters = values | {"keys": list(keyed), "turns": list(keyed.values())}
            yield from (_Due(**row._asdict()) for row in self.connection.execute(statements.DUE_OF_SHARERS, parameters))
        if NO_KEY in turns:
            rows = self.connection.execute(statements.DUE_OF_NOBODY, values | {"turns": turns[NO_KEY]})
            yield from (_Due(**row._asdict()) for row in rows)

    def _countable(self, due: Sequence[_Due]) -> list[_Due]:
        """Those whose limits are ours to count by, for as long as this claim takes.

        Later looks do not wait for a lock: they would not ask in the order of all keys.
        """
        due = self._within_keys(due)
        keys = {key for job in due for key in job.limits or ()} - self.locked
        locked = lock_keys(self.connection, sorted(keys), may_wait=not self.locked)
        self.locked |= locked
        self.uses |= uses_of(self.connection, sorted(locked), self.now)
        return [job for job in due if self.locked.issuperset(job.limits or ())]

    def _within_keys(self, due: Sequence[_Due]) -> Sequence[_Due]:
        """As many of the first as name few keys together."""
        keys = set(self.locked)
        for place, job in enumerate(due):
            keys.update(job.limits or ())
            if place and len(keys) > _MOST_KEYS:
                return due[:place]
        return due

    def _park(self, due: Sequence[_Due], parked: Mapping[UUID, str]) -> None:
        """Another of its limits may have let each go, to a place that it leaves now: that is the next one's."""
        if not parked:
            return
        self.parked.update(parked)
        self.connection.execute(statements.PARK, {"ids": list(parked), "held_by": list(parked.values())})
        left = {
            f"{Block.RUNNING}:{key}"
            for job in due
            if job.id in parked
            for key in job.limits or ()
            if key in self.uses and self.uses[key].blocks is None
        }
        if left:
            values = {**self.lane, "now": self.now, "held_by": sorted(left), "parked": list(self.parked)}
            self.connection.execute(statements.LET_NEXT_TRY, values)


def claim_by_rules(
    connection: Connection,
    claimant: Claimant,
    lane: Lane,
    limit: int,
    *,
    until: datetime | None = None,
    ahead: bool = False,
    now: datetime | None = None,
) -> Ruled:
    """Claim up to ``limit`` jobs of a lane that were due by ``until``, as its rules have it; what a limit keeps from
    starting is put aside. ``ahead``: as for ``exchange``.
    """
    place: dict[str, Any] = {"queue": lane.queue, "priority": lane.priority.rank}
    connection.execute(statements.TURN, {"queue": lane.queue})
    values = place | {"worker_id": claimant.worker_id, "now": now, "until": until}
    standing = connection.execute(statements.STANDING, values).first()
    if standing is None:
        return Ruled((), has_parked=False)
    place["until"] = standing.until
    of_queue = use_of_queue(connection, place["queue"], standing.now)
    limit = limit if of_queue is None else int(min(limit, of_queue.room))
    if not limit:
        return Ruled((), has_parked=False)
    rows = connection.execute(statements.SHARERS, place)
    sharers = [Sharer(row.fair_key, row.weight, row.virtual) for row in rows]
    if standing.has_others:
        sharers.append(Sharer(NO_KEY, virtual=standing.virtual))
    claim = _Claim(connection, claimant, place, standing.now, sharers, standing.clock)
    claim.choose(limit, ahead=ahead)
    jobs = claim.write()
    if jobs and of_queue is not None:
        of_queue.tokens -= len(jobs)
        write_tokens(connection, {of_queue.limit.key: of_queue}, standing.now)
    return Ruled(jobs, has_parked=bool(claim.parked))


def _until_a_loner(due: Sequence[_Due], *, may_be_first: bool) -> list[_Due]:
    """A job that must run alone is taken by itself, when it comes first; those behind it wait for another claim."""
    place = next((place for place, job in enumerate(due) if job.goes_alone), len(due))
    return list(due[:1] if place == 0 and may_be_first else due[:place])

"""Claims in a lane that has jobs with limits or fair keys: what may start is decided in ``domain``.

A queue's claims take turns (a lock for the queue), and so do all that count by the same key (a lock for each, in their
order). What is counted under a lock includes all that was claimed under it before: a statement sees what was committed.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from steeple.domain.fairness import NO_KEY, Sharer, after, take_turns
from steeple.domain.job import ClaimedJob
from steeple.domain.limits import Block, Use, admit
from steeple.domain.priority import Lane
from steeple.store.exchange import Claimant, claimed_job
from steeple.store.limits import lock_keys, uses_of, write_tokens

# The time of the claim, if the claimant still counts as alive; no two in a queue at once; durable, as all claims are.
_BEGIN = text("""
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(hashtextextended(:queue, 1)), set_config('synchronous_commit', 'on', true)
)
SELECT now, LEAST(now, CAST(:until AS timestamptz)) AS until
FROM turn CROSS JOIN LATERAL (SELECT COALESCE(CAST(:now AS timestamptz), clock_timestamp()) AS now) AS clock, workers
WHERE workers.id = CAST(:worker_id AS uuid) AND workers.ended_at IS NULL
""")

# The fair keys that have jobs due in a lane: skips through the index from one to the next.
_SHARERS = text("""
WITH RECURSIVE sharer (fair_key) AS (
    (SELECT fair_key FROM jobs
     WHERE state = 'PENDING' AND held_by IS NULL AND fair_key IS NOT NULL AND queue = :queue AND priority = :priority
     ORDER BY fair_key LIMIT 1)
    UNION ALL
    SELECT following.fair_key FROM sharer CROSS JOIN LATERAL (
        SELECT fair_key FROM jobs
        WHERE state = 'PENDING' AND held_by IS NULL AND fair_key > sharer.fair_key
          AND queue = :queue AND priority = :priority
        ORDER BY fair_key LIMIT 1
    ) AS following
)
SELECT sharer.fair_key, COALESCE(weights.weight, 1.0) AS weight, shares.virtual
FROM sharer
LEFT JOIN weights USING (fair_key)
LEFT JOIN shares ON shares.fair_key = sharer.fair_key AND shares.queue = :queue AND shares.priority = :priority
WHERE EXISTS (
    SELECT FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND fair_key = sharer.fair_key
      AND queue = :queue AND priority = :priority AND run_at <= :until
)
""")

# Where a lane's clock is; whether jobs without a fair key are due in it, and where they are.
_STANDING = text("""
SELECT COALESCE((SELECT clock FROM share_clocks WHERE queue = :queue AND priority = :priority), 0.0) AS clock,
       (SELECT virtual FROM shares WHERE queue = :queue AND priority = :priority AND fair_key = '') AS virtual,
       EXISTS (
           SELECT FROM jobs
           WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
             AND queue = :queue AND priority = :priority AND run_at <= :until
       ) OR EXISTS (
           SELECT FROM jobs
           WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL)
             AND fair_key IS NULL AND queue = :queue AND priority = :priority AND run_at <= :until
       ) AS has_others
""")

# The first due jobs of some fair keys, as many of each as it has turns.
_OF_SHARERS = text("""
SELECT sharer.fair_key, due.id, due.run_at, due.limits, due.goes_alone
FROM unnest(CAST(:keys AS text[]), CAST(:turns AS integer[])) AS sharer (fair_key, turns)
CROSS JOIN LATERAL (
    SELECT id, run_at, limits, crashes > 0 OR attempt + 1 >= max_attempts AS goes_alone FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND queue = :queue AND priority = :priority
      AND fair_key = sharer.fair_key AND run_at <= :until AND (expires_at IS NULL OR expires_at > :now)
      AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
      AND id <> ALL (CAST(:taken AS uuid[]))
    ORDER BY run_at, id LIMIT sharer.turns FOR UPDATE SKIP LOCKED
) AS due
""")

# The first due jobs without a fair key, with limits or without.
_OF_NOBODY = text("""
WITH plain AS MATERIALIZED (
    SELECT id, run_at, limits, crashes > 0 OR attempt + 1 >= max_attempts AS goes_alone FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND limits IS NULL AND fair_key IS NULL
      AND queue = :queue AND priority = :priority AND run_at <= :until AND (expires_at IS NULL OR expires_at > :now)
      AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
      AND id <> ALL (CAST(:taken AS uuid[]))
    ORDER BY run_at, id LIMIT :turns FOR UPDATE SKIP LOCKED
),
limited AS MATERIALIZED (
    SELECT id, run_at, limits, crashes > 0 OR attempt + 1 >= max_attempts AS goes_alone FROM jobs
    WHERE state = 'PENDING' AND held_by IS NULL AND (limits IS NOT NULL OR fair_key IS NOT NULL) AND fair_key IS NULL
      AND queue = :queue AND priority = :priority AND run_at <= :until AND (expires_at IS NULL OR expires_at > :now)
      AND (CAST(:tasks AS text[]) IS NULL OR task = ANY (CAST(:tasks AS text[])))
      AND id <> ALL (CAST(:taken AS uuid[]))
    ORDER BY run_at, id LIMIT :turns FOR UPDATE SKIP LOCKED
)
SELECT CAST('' AS text) AS fair_key, * FROM (SELECT * FROM plain UNION ALL SELECT * FROM limited) AS due
ORDER BY run_at, id LIMIT :turns
""")

# Takes jobs that may start.
_CLAIM = text("""
WITH chosen AS (SELECT * FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS chosen (id, place)),
claimed AS (
    UPDATE jobs SET state = 'RUNNING', fence = fence + 1, attempt = attempt + 1,
        started_at = :now, worker_id = CAST(:worker_id AS uuid), slot = CAST(:slot AS smallint),
        progress = NULL, stop = NULL
    WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'PENDING'
    RETURNING id, fence, task, CAST(args AS text) AS args, queue, attempt, max_attempts, timeout, retry, run_at,
              started_at AS claimed_at, crashes
)
SELECT claimed.* FROM claimed JOIN chosen USING (id) ORDER BY place
""")

# Puts jobs aside that a limit keeps from starting, so that they hold up no others.
_PARK = text("""
UPDATE jobs SET held_by = parked.held_by
FROM unnest(CAST(:ids AS uuid[]), CAST(:held_by AS text[])) AS parked (id, held_by)
WHERE jobs.id = parked.id AND jobs.state = 'PENDING'
""")

# Where the keys are that had turns.
_SHARE = text("""
INSERT INTO shares (queue, priority, fair_key, virtual)
SELECT :queue, :priority, fair_key, virtual
FROM unnest(CAST(:keys AS text[]), CAST(:virtual AS float8[])) AS share (fair_key, virtual)
ON CONFLICT (queue, priority, fair_key) DO UPDATE SET virtual = excluded.virtual
""")

# Where the lane's clock is now.
_TICK = text("""
INSERT INTO share_clocks (queue, priority, clock) VALUES (:queue, :priority, :clock)
ON CONFLICT (queue, priority) DO UPDATE SET clock = excluded.clock
""")

# Lets the next job try of each of some keys, whose place another one did not take.
_NEXT = text("""
UPDATE jobs SET held_by = NULL WHERE id IN (
    SELECT following.id FROM unnest(CAST(:held_by AS text[])) AS holder (held_by) CROSS JOIN LATERAL (
        SELECT id FROM jobs
        WHERE state = 'PENDING' AND jobs.held_by = holder.held_by AND id <> ALL (CAST(:parked AS uuid[]))
        ORDER BY queue, priority, run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS following
)
""")

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
            self.connection.execute(_SHARE, {**self.lane, "keys": keys, "virtual": virtual})
            self.connection.execute(_TICK, {**self.lane, "clock": standing.clock})
        write_tokens(self.connection, self.uses, self.now)
        by = {"now": self.now, "worker_id": self.claimant.worker_id, "slot": self.claimant.slot}
        values = by | {"ids": [job.id for job in self.taken]}
        return tuple(claimed_job(row) for row in self.connection.execute(_CLAIM, values))

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
        keyed = {key: count for key, count in turns.items() if key != NO_KEY}
        wanted = [(_OF_SHARERS, {"keys": list(keyed), "turns": list(keyed.values())})] if keyed else []
        wanted += [(_OF_NOBODY, {"turns": turns[NO_KEY]})] if NO_KEY in turns else []
        for statement, parameters in wanted:
            yield from (_Due(**row._asdict()) for row in self.connection.execute(statement, values | parameters))

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
        self.connection.execute(_PARK, {"ids": list(parked), "held_by": list(parked.values())})
        left = {
            f"{Block.RUNNING}:{key}"
            for job in due
            if job.id in parked
            for key in job.limits or ()
            if key in self.uses and self.uses[key].blocks is None
        }
        if left:
            self.connection.execute(_NEXT, {"held_by": sorted(left), "parked": list(self.parked)})


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
    """Claim up to ``limit`` jobs of a lane, due by ``until``; what a limit keeps from starting is put aside."""
    place: dict[str, Any] = {"queue": lane.queue, "priority": lane.priority.rank}
    began = connection.execute(_BEGIN, place | {"worker_id": claimant.worker_id, "now": now, "until": until}).first()
    if began is None:
        return Ruled((), has_parked=False)
    place["until"] = began.until
    standing = connection.execute(_STANDING, place).one()
    rows = connection.execute(_SHARERS, place)
    sharers = [Sharer(row.fair_key, row.weight, row.virtual) for row in rows]
    if standing.has_others:
        sharers.append(Sharer(NO_KEY, virtual=standing.virtual))
    claim = _Claim(connection, claimant, place, began.now, sharers, standing.clock)
    claim.choose(limit, ahead=ahead)
    return Ruled(claim.write(), has_parked=bool(claim.parked))


def _until_a_loner(due: Sequence[_Due], *, may_be_first: bool) -> list[_Due]:
    """A job that must run alone is taken by itself, when it comes first; those behind it wait for another claim."""
    place = next((place for place, job in enumerate(due) if job.goes_alone), len(due))
    return list(due[:1] if place == 0 and may_be_first else due[:place])

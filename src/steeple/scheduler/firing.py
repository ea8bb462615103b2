"""What fires come to, in transactions: jobs for schedules that are due, for fires that waited, for backfills."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from steeple.cron import timetable
from steeple.domain.job import NewJob
from steeple.domain.overlap import decide
from steeple.domain.priority import Lane
from steeple.domain.schedule import Definition, Missed, Outcome, Overlap, Policy, Round, Timetable, due_round
from steeple.domain.statistics import CounterName
from steeple.errors import JobNotFound, StateConflict, SteepleError
from steeple.scheduler.known_tasks import KnownTasks
from steeple.scheduling import job_of
from steeple.store import backfills, counters, fires, transitions
from steeple.store.backfills import OpenBackfill
from steeple.store.children import insert_some
from steeple.store.encoding import abridged, storable
from steeple.store.engine import Connection
from steeple.store.fires import Fire, FireKey, Taken

MOST_AT_ONCE = 500
"""Schedules of one transaction."""

_MOST_CHARS = 2000
"""Of what is told about a fire that failed."""


@dataclass
class Fired:
    """What a transaction did: ``taken`` schedules, and to which lanes jobs were added."""

    taken: int = 0
    lanes: Counter[Lane] = field(default_factory=Counter)
    failures: list[Fire] = field(default_factory=list)
    missed: list[Fire] = field(default_factory=list)


@dataclass
class _Plan:
    """What is to be written."""

    fires: list[Fire] = field(default_factory=list)
    jobs: dict[FireKey, NewJob] = field(default_factory=dict)
    replaced: list[Fire] = field(default_factory=list)
    cancelled: list[UUID] = field(default_factory=list)
    following: list[tuple[UUID, datetime | None, datetime | None]] = field(default_factory=list)

    def make(self, key: FireKey, definition: Definition, tasks: KnownTasks) -> None:
        """A job for this fire; where there can be none, the fire says why."""
        try:
            job = job_of(key.schedule_id, definition, tasks.checked(definition.task, definition.args))
        except Exception as error:  # noqa: BLE001 - a task's own check may raise whatever it likes
            self.fires.append(Fire(key, Outcome.FAILED, _words(error)))
            return
        self.fires.append(Fire(key, Outcome.FIRED, None, job.id))
        self.jobs[key] = job


def fire_due(connection: Connection, tasks: KnownTasks, *, now: datetime | None = None) -> Fired:
    """Fire the schedules that are due, as many as go into one transaction."""
    taken = fires.take_due(connection, limit=MOST_AT_ONCE, now=now)
    if not taken:
        return Fired()
    tasks.look(connection)
    careful = [each.id for each in taken if each.definition.overlap is not Overlap.ALLOW]
    active, waiting = fires.active_jobs(connection, careful), fires.waiting_fires(connection, careful)
    plan = _Plan()
    for each in taken:
        _plan(plan, each, tasks, active.get(each.id, []), waiting.get(each.id))
    fires.settle(connection, plan.replaced, now=now)
    new = fires.record(connection, plan.fires, now=now)
    fires.advance(connection, plan.following)
    done = _done(connection, plan, new, len(taken), now)
    for job_id in dict.fromkeys(plan.cancelled):
        _cancel_unless_ended(connection, job_id)
    return done


def fire_waiting(connection: Connection, tasks: KnownTasks, *, now: datetime | None = None) -> Fired:
    """Make the jobs of fires that waited for the end of an earlier one."""
    taken = fires.take_waiting(connection, limit=MOST_AT_ONCE, now=now)
    if not taken:
        return Fired()
    tasks.look(connection)
    # Looked at again, now that the schedules are ours: until then another job may have come.
    active = fires.active_jobs(connection, [each.id for each in taken])
    plan = _Plan()
    for each in taken:
        if each.id not in active:
            plan.make(FireKey(each.id, each.time), each.definition, tasks)
    new = fires.settle(connection, plan.fires, now=now)
    return _done(connection, plan, new, len(taken), now)


def fire_backfills(connection: Connection, tasks: KnownTasks, *, now: datetime | None = None) -> Fired:
    """Give backfills as many jobs as may be active at once."""
    opened = backfills.take_open(connection)
    if opened:
        tasks.look(connection)
    plan = _Plan()
    for each in opened:
        _fill(connection, plan, each, tasks)
    new = fires.settle(connection, plan.fires, now=now)
    return _done(connection, plan, new, len(opened), now)


def _fill(connection: Connection, plan: _Plan, backfill: OpenBackfill, tasks: KnownTasks) -> None:
    times = backfills.next_times(connection, backfill.id, limit=backfill.free + 1)
    for time in times[: backfill.free]:
        plan.make(FireKey(backfill.schedule_id, time), backfill.definition, tasks)
    if len(times) <= backfill.free:
        backfills.finish(connection, backfill.id)


def _plan(plan: _Plan, taken: Taken, tasks: KnownTasks, active: Sequence[UUID], waiting: datetime | None) -> None:
    try:
        table = timetable(taken.definition, taken.id, taken.anchor)
        found = due_round(table, taken.time, taken.now, _policy(taken.definition))
    except Exception as error:  # noqa: BLE001 - such as a zone that is gone; the others must not wait for it
        plan.fires.append(_unreadable(taken, error))
        plan.following.append((taken.id, None, None))
        return
    plan.following.append(_following(taken.id, table, found))
    if found.missed is not None:
        plan.fires.append(_missed(taken, found.missed))
    _overlap(plan, taken, found.fires, tasks, list(active), waiting)


def _overlap(
    plan: _Plan,
    taken: Taken,
    times: Iterable[datetime],
    tasks: KnownTasks,
    active: list[UUID],
    waiting: datetime | None,
) -> None:
    """The fires of one schedule, one after the other, each with what those before it came to."""
    for time in times:
        key = FireKey(taken.id, time)
        decision = decide(taken.definition.overlap, is_active=bool(active), is_waiting=waiting is not None)
        if decision.cancels:
            plan.cancelled += active
        if decision.replaces and waiting is not None:
            _replace(plan, FireKey(taken.id, waiting), time)
        if decision.outcome is Outcome.FIRED:
            plan.make(key, taken.definition, tasks)
            active += [plan.jobs[key].id] if key in plan.jobs else []
        else:
            plan.fires.append(Fire(key, decision.outcome, decision.why))
            waiting = time if decision.outcome is Outcome.QUEUED else waiting


def _replace(plan: _Plan, waiting: FireKey, by: datetime) -> None:
    """A fire that waits makes room, be it one of this very round."""
    made = Fire(waiting, Outcome.CANCELLED, f"the fire of {_shown(by)} took its place")
    for place, each in enumerate(plan.fires):
        if each.key == waiting:
            plan.fires[place] = made
            return
    plan.replaced.append(made)


def _cancel_unless_ended(connection: Connection, job_id: UUID) -> bool:
    try:
        transitions.cancel(connection, job_id)
    except (JobNotFound, StateConflict):
        return False
    return True


def _done(connection: Connection, plan: _Plan, written: set[FireKey], taken: int, now: datetime | None) -> Fired:
    """Store the jobs of the fires that were written, and count."""
    jobs = [job for key, job in plan.jobs.items() if key in written]
    insert_some(connection, jobs, now=now)
    failures = [each for each in plan.fires if each.key in written and each.outcome is Outcome.FAILED]
    missed = [each for each in plan.fires if each.key in written and each.outcome is Outcome.MISSED]
    counters.add(connection, {CounterName.FAILED_FIRES: len(failures), CounterName.MISSED_FIRES: len(missed)})
    return Fired(taken, Counter(Lane(job.queue, job.priority) for job in jobs), failures, missed)


def _policy(definition: Definition) -> Policy:
    return Policy(definition.catch_up, definition.catch_up_window)


def _following(schedule_id: UUID, table: Timetable, found: Round) -> tuple[UUID, datetime | None, datetime | None]:
    time = found.following
    return schedule_id, time, None if time is None else table.due(time)


def _missed(taken: Taken, missed: Missed) -> Fire:
    until = "" if missed.until is None else f", nor any other before {_shown(missed.until)}"
    kept = taken.definition.catch_up
    why = (
        f"no scheduler fired it in time{until}; catch_up is {kept.value}, within {taken.definition.catch_up_window:g} s"
    )
    return Fire(FireKey(taken.id, missed.first), Outcome.MISSED, why)


def _unreadable(taken: Taken, error: Exception) -> Fire:
    why = f"its rule cannot be read any more, so it fires no more until it is changed: {_words(error)}"
    return Fire(FireKey(taken.id, taken.time), Outcome.FAILED, why)


def _words(error: Exception) -> str:
    return storable(abridged(str(error) if isinstance(error, SteepleError) else repr(error), _MOST_CHARS))


def _shown(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")

"""What must hold of each job by itself: its states, its fence, its attempts, its end."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from history import Answer, Call, History, Reply, Row, Transition
from violation import Violation

from steeple.domain.retry import CRASH_CAP
from steeple.domain.states import TERMINAL, TRANSITIONS, Cause, State

_LONGEST_TRANSACTION = timedelta(seconds=30)
"""Whose time is that of its beginning."""

_CLOCK_TICK = timedelta(milliseconds=1)

_COUNTED: Mapping[Cause, frozenset[int]] = {
    Cause.CLAIM: frozenset({1}),
    Cause.RELEASE: frozenset({-1}),
    Cause.CANCEL: frozenset({0, -1}),
    Cause.RESCUE: frozenset({0}),
    Cause.RETRY_LATER: frozenset({0}),
    Cause.FINISH: frozenset({0}),
    Cause.EXPIRE: frozenset({0}),
}
"""What each cause may add to the number of attempts. A cancelled claim may have been one that had not started."""


def accepted_jobs_exist(history: History) -> Iterator[Violation]:
    """1. Every id answered with 2xx exists, until it is pruned, which only befalls jobs that have ended."""
    present = history.at_end()
    for reply in history.replies:
        for job_id in reply.job_ids if reply.answer is Answer.ACCEPTED else ():
            lines = history.by_job.get(job_id, ())
            if not lines:
                yield Violation(job_id, "was accepted and never was", (reply,))
            elif lines[-1].after is not None and job_id not in present:
                yield Violation(job_id, "was accepted and is gone", (reply, lines[-1]))
    for line in history.transitions:
        if line.after is None and line.before is not None and line.before.state not in TERMINAL:
            yield Violation(line.job_id, f"was deleted while {line.before.state}", (line,))


def jobs_end_in_time(history: History) -> Iterator[Violation]:
    """2. After faults heal, every job reaches a terminal state within the bound, counted from when it may run."""
    if history.healed_at is None:
        return
    for job_id, row in history.at_end().items():
        lines = history.by_job.get(job_id, ())
        if row.state not in TERMINAL:
            yield Violation(job_id, f"never ended: it is {row.state}", lines[-3:])
        elif lines and history.is_timed:
            ended_at = next((line.at for line in reversed(lines) if _has_ended(line)), None)
            free_at = max(history.healed_at, _last_due(lines))
            if ended_at is not None and ended_at > free_at + history.bound:
                yield Violation(job_id, f"ended {ended_at - free_at} after it could", lines[-3:])


def ends_are_final(history: History) -> Iterator[Violation]:
    """3. A terminal state changes only by an explicit retry; and what a client saw of an end is so."""
    asked = _retries_asked(history)
    for job_id, lines in history.by_job.items():
        done: list[Transition] = []
        for line in lines:
            if not (line.before and line.after) or line.before.state not in TERMINAL:
                continue
            if line.cause is not Cause.RETRY or (line.after.attempt, line.after.crashes) != (0, 0):
                yield Violation(job_id, f"changed after it was {line.before.state}", (line,))
            else:
                done.append(line)
        if len(done) > len(asked.get(job_id, ())):
            yield Violation(job_id, f"was retried {len(done)} times, more than asked", (*done, *asked.get(job_id, ())))
    yield from _ends_seen(history)


def fences_grow(history: History) -> Iterator[Violation]:
    """4. The fence of a job strictly increases: by one wherever the table of states says so, and never otherwise."""
    for job_id, lines in history.by_job.items():
        former: Row | None = None
        claimed: Transition | None = None
        for line in lines:
            if line.before is not None and former is not None and line.before.fence != former.fence:
                yield Violation(job_id, "its fence changed unseen", (line,))
            expected = _expected_fence(line)
            if line.after is not None and line.after.fence != expected:
                yield Violation(job_id, f"fence {line.after.fence} where {expected} was due", (line,))
            if line.is_claim and claimed is not None and _fence(line) <= _fence(claimed):
                yield Violation(job_id, "was claimed twice under one fence", (claimed, line))
            claimed = line if line.is_claim else claimed
            former = line.after
        last = history.at_end().get(job_id)
        if former is not None and last is not None and (last.state, last.fence) != (former.state, former.fence):
            yield Violation(job_id, f"is {last.state} with fence {last.fence} at the end, unseen", (lines[-1],))


def transitions_are_allowed(history: History) -> Iterator[Violation]:
    """The table of states: nothing else leads from one state to another, and within a state no outcome changes."""
    ways = {(way.source, way.target) for way in TRANSITIONS}
    for line in history.transitions:
        source, target = line.before and line.before.state, line.after and line.after.state
        if target is not None and source != target and (source, target) not in ways:
            yield Violation(line.job_id, f"no way leads from {source} to {target}", (line,))
        elif line.before and line.after and source == target and _facts(line.before) != _facts(line.after):
            yield Violation(line.job_id, f"changed while {source}", (line,))


def outcomes_belong_to_the_last_claim(history: History) -> Iterator[Violation]:
    """5. The recorded outcome belongs to the last claim: the fence that it names is the one it was written under."""
    for line in history.transitions:
        if line.before is None or line.after is None or line.cause not in (Cause.FINISH, Cause.RETRY_LATER):
            continue
        named = line.after.fence_named
        if named is not None and named != line.before.fence:
            yield Violation(line.job_id, f"claim {line.before.fence} got the outcome of claim {named}", (line,))
    for job_id, row in history.at_end().items():
        if row.state is State.SUCCESS and row.fence_named not in (None, row.fence):
            yield Violation(job_id, f"has the outcome of claim {row.fence_named}, and fence {row.fence}")


def attempts_are_counted(history: History) -> Iterator[Violation]:
    """7. Attempts never exceed the maximum, crashes never the cap; each claim counts once, a released one never."""
    for line in history.transitions:
        if line.after is None:
            continue
        if not 0 <= line.after.attempt <= line.after.max_attempts or line.after.crashes > CRASH_CAP:
            yield Violation(line.job_id, "more attempts or crashes than allowed", (line,))
        counted = None if line.cause is None else _COUNTED.get(line.cause)
        if line.before is None or counted is None:
            continue
        if line.after.attempt - line.before.attempt not in counted:
            yield Violation(
                line.job_id, f"{line.cause} made attempt {line.before.attempt} {line.after.attempt}", (line,)
            )
        if line.cause is Cause.RESCUE and line.after.state is not _after_crash(line.after):
            yield Violation(line.job_id, f"crash {line.after.crashes} left it {line.after.state}", (line,))
        elif line.cause not in (Cause.RESCUE, Cause.CANCEL) and line.after.crashes != line.before.crashes:
            yield Violation(line.job_id, f"{line.cause} counted a crash", (line,))
    for effect in history.effects:
        rows = [line.after for line in history.by_job.get(effect.job_id, ()) if line.after]
        if rows and effect.attempt > max(row.max_attempts for row in rows):
            yield Violation(effect.job_id, f"attempt {effect.attempt} ran", (effect,))


def claims_keep_to_times(history: History) -> Iterator[Violation]:
    """No claim before a job's time or at its expiry, and none by another clock than the database's; and who is retried
    is due at once."""
    for line in history.transitions:
        if not line.is_claim or line.before is None or line.after is None or line.after.started_at is None:
            continue
        began, now = line.after.started_at, line.clock or line.at
        if line.before.run_at is not None and line.before.run_at > min(began, now):
            yield Violation(line.job_id, f"was claimed before its time {line.before.run_at}", (line,))
        if line.before.expires_at is not None and line.before.expires_at <= began:
            yield Violation(line.job_id, f"was claimed after it expired at {line.before.expires_at}", (line,))
        if began > now:
            yield Violation(line.job_id, f"was claimed at {began}, when it was {now}", (line,))
    for line in history.transitions:
        if line.cause is Cause.RETRY and line.after is not None and line.after.run_at is not None:
            now = line.clock or line.at
            if not now - _LONGEST_TRANSACTION <= line.after.run_at <= now + _CLOCK_TICK:
                yield Violation(line.job_id, f"was retried, and is due at {line.after.run_at}", (line,))


def cancels_are_heeded(history: History) -> Iterator[Violation]:
    """A job whose cancellation was asked for is not run again before someone retries it; a cancel is refused only
    where the job has ended."""
    for line in history.transitions:
        if line.before is None or line.after is None or not line.before.is_cancel_requested:
            continue
        if line.before.state is State.RUNNING and line.after.state is State.PENDING:
            yield Violation(line.job_id, "goes on after its cancellation was asked for", (line,))
    for reply in history.replies:
        if reply.call is Call.CANCEL and reply.answer is Answer.REFUSED:
            yield from _refused_while_active(history, reply)


def _refused_while_active(history: History, reply: Reply) -> Iterator[Violation]:
    for job_id in reply.job_ids:
        lines = history.by_job.get(job_id, ())
        before = [line for line in lines if line.at < reply.asked_at]
        during = [line for line in lines if reply.asked_at <= line.at <= reply.answered_at]
        if _was_active(history, before, reply) and not any(map(_has_ended, during)):
            yield Violation(job_id, "was active, and its cancellation was refused", (before[-1], reply))


def _was_active(history: History, before: list[Transition], reply: Reply) -> bool:
    """True if the job was active for sure: its present life had begun, and whoever began it had committed, as someone
    was told or built on it."""
    if not before or before[-1].after is None or _has_ended(before[-1]):
        return False
    if before[-1].cause not in (Cause.SUBMIT, Cause.RETRY):
        return True
    told = [
        each
        for each in history.replies
        if each.answer is Answer.ACCEPTED and before[-1].at <= each.answered_at <= reply.asked_at
    ]
    return any(before[-1].job_id in each.job_ids for each in told)


def _retries_asked(history: History) -> Mapping[UUID, list[Reply]]:
    found: dict[UUID, list[Reply]] = {}
    for reply in history.replies:
        if reply.call is Call.RETRY and reply.answer is not Answer.REFUSED:
            for job_id in reply.job_ids:
                found.setdefault(job_id, []).append(reply)
    return found


def _ends_seen(history: History) -> Iterator[Violation]:
    for reply in history.replies:
        for job_id in reply.job_ids if reply.state in TERMINAL and reply.answer is Answer.ACCEPTED else ():
            lines = history.by_job.get(job_id, ())
            if lines and not any(line.after and line.after.state is reply.state for line in lines):
                yield Violation(job_id, f"was shown as {reply.state}, which it never was", (reply, lines[-1]))


def _expected_fence(line: Transition) -> int:
    if line.before is None or line.after is None:
        return 0
    if line.cause is None:
        return line.before.fence
    raises = {(way.source, way.target, way.cause): way.raises_fence for way in TRANSITIONS}
    return line.before.fence + raises.get((line.before.state, line.after.state, line.cause), 0)


def _after_crash(after: Row) -> State:
    spent = after.crashes >= CRASH_CAP or after.attempt >= after.max_attempts
    return State.FAILED if spent else State.PENDING


def _facts(row: Row) -> tuple[object, ...]:
    """What may not change within a state. A pending job may be edited."""
    plan = None if row.state is State.PENDING else (row.run_at, row.max_attempts)
    return (row.attempt, row.crashes, row.worker_id, row.slot, row.result, row.error, row.started_at, plan)


def _has_ended(line: Transition) -> bool:
    return line.after is not None and line.after.state in TERMINAL


def _last_due(lines: tuple[Transition, ...]) -> datetime:
    times = [line.after.run_at for line in lines if line.after is not None and line.after.run_at is not None]
    return max([*times, lines[0].at])


def _fence(line: Transition) -> int:
    return line.after.fence if line.after is not None else 0

"""What must hold between jobs, runs, workers and clients: keys, limits, overlaps, waits, what came from the broker."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

from history import Answer, Call, Effect, History, Reply, Round, Row, Transition
from violation import Violation

from steeple.domain.states import ACTIVE, Cause, State

_LONGEST_WAIT = timedelta(seconds=1)

_CLOCKS_APART = timedelta(seconds=0.1)
"""The server's clock and that of the effects, which is translated from another one."""


def runs_do_not_overlap(history: History) -> Iterator[Violation]:
    """6. Two claims of a job never run at the same time while the first one's worker is alive and heartbeating."""
    ended = {line.worker_id: line.at for line in reversed(history.workers) if line.ended}
    for _, runs in groupby(sorted(history.effects, key=_by_job), key=lambda effect: effect.job_id):
        for first, second in _overlapping(list(runs)):
            claim = _claim_of(history, first)
            if claim is None or claim.after is None:  # which the last rule looks at
                continue
            worker_id = claim.after.worker_id
            if worker_id is None or ended.get(worker_id, second.began_at) >= second.began_at:
                yield Violation(first.job_id, "ran twice at the same time", (claim, first, second))
    yield from _taken_away(history, ended)
    for line in history.workers:
        if line.ended is None:
            yield Violation(None, f"worker {line.worker_id} came back to life", (line,))


def fires_are_single(history: History) -> Iterator[Violation]:
    """8. Each fire time of a schedule has at most one job. By ``schedule_id`` and ``run_at``, as long as fires keep no
    time of their own."""
    found: dict[tuple[UUID, datetime], Transition] = {}
    for line in history.transitions:
        if line.before is None and line.after and line.after.schedule_id and line.after.run_at:
            fire = (line.after.schedule_id, line.after.run_at)
            if fire in found:
                yield Violation(line.job_id, f"a second job of schedule {fire[0]} at {fire[1]}", (found[fire], line))
            found.setdefault(fire, line)


def keys_are_single(history: History) -> Iterator[Violation]:
    """9. One job per idempotency key and owner; one active job per ``unique_key``; a key stands for one request."""
    holders: dict[tuple[str, ...], Transition] = {}
    for line in sorted(history.transitions, key=lambda each: each.number):
        before, after = _keys(line.before), _keys(line.after)
        for key in before - after:
            holders.pop(key, None)
        for key in after - before:
            if key in holders:
                what = f"holds {key[0]} {key[-1]!r}, which job {holders[key].job_id} holds"
                yield Violation(line.job_id, what, (holders[key], line))
            holders[key] = line
    yield from _repeats_differ(history)
    yield from _keys_of_others(history)


def limits_hold(history: History) -> Iterator[Violation]:
    """10. A limit's running count never exceeds its maximum. Checked for the limits that the history states."""
    for limit in history.limits:
        running: set[UUID] = set()
        for line in sorted(history.transitions, key=lambda each: each.number):
            if line.job_id not in limit.job_ids:
                continue
            running.discard(line.job_id)
            if line.after is not None and line.after.state is State.RUNNING:
                running.add(line.job_id)
            if line.is_claim and len(running) > limit.max_running:
                yield Violation(line.job_id, f"is one too many of limit {limit.name!r}: {len(running)} run", (line,))


def claims_do_not_wait(history: History) -> Iterator[Violation]:
    """11. A claimed job that has not started never waits more than 1 s behind its neighbour. Not checked in troubled
    times, nor of claims that a rescue ended; where the test moves everybody by hand, by the rounds of attendants."""
    if not history.is_timed:
        yield from _kept_waiting(history)
        yield from _started_late(history)
        yield from _forgotten(history)
        return
    began = {(each.job_id, each.fence): each.began_at for each in reversed(history.effects)}
    traced = {each.job_id for each in history.effects}
    for job_id, lines in history.by_job.items():
        for claim, after in zip(lines, (*lines[1:], None), strict=True):
            if not claim.is_claim:
                continue
            until = began.get((job_id, _fence(claim)), _started_or_left(after, job_id in traced))
            if until is None or _is_troubled(history, claim.at, until):
                continue
            if until - claim.at > _LONGEST_WAIT + history.slack:
                lines_shown = (claim,) if after is None else (claim, after)
                yield Violation(claim.job_id, f"claimed and not started for {until - claim.at}", lines_shown)


def parents_end_first(history: History) -> Iterator[Violation]:
    """A job is claimed only when each of its parents has ended at least once, and well unless it runs whatever becomes
    of them. Not if it was retried explicitly."""
    for lines in history.by_job.values():
        retried_at = next((line.number for line in lines if line.cause is Cause.RETRY), None)
        for claim in lines:
            if not claim.is_claim or claim.after is None or (retried_at or claim.number) < claim.number:
                continue
            for parent in claim.after.parents:
                ends = set(_ends_before(history, parent, claim.number))
                if not ends:
                    yield Violation(claim.job_id, f"was claimed before its parent {parent} had ended", (claim,))
                elif claim.after.on_parent_failure == "cancel" and State.SUCCESS not in ends:
                    yield Violation(claim.job_id, f"was claimed though its parent {parent} failed", (claim,))


def _ends_before(history: History, job_id: UUID, number: int) -> Iterator[State]:
    """How a job had ended by then, each time that it was started."""
    for line in history.by_job.get(job_id, ()):
        if line.number < number and line.after is not None and line.after.state not in ACTIVE:
            yield line.after.state


def nothing_runs_unclaimed(history: History) -> Iterator[Violation]:
    """12. Nothing read from the broker is trusted: what runs was claimed, as this attempt under this fence; forged
    messages are dropped and counted. No claim is lost, also where the database was killed just after it."""
    for effect in history.effects:
        claim = _claim_of(history, effect)
        is_claimed = claim is not None and claim.after is not None and claim.after.attempt == effect.attempt
        if not is_claimed:
            crashes = [f"PostgreSQL was killed at {at:%H:%M:%S.%f}" for at in history.server_crashes]
            yield Violation(effect.job_id, "ran without a claim", (effect, *crashes))
    if history.dropped is not None and history.dropped < history.forged:
        yield Violation(None, f"{history.forged} messages were forged, {history.dropped} dropped and counted")


def _kept_waiting(history: History) -> Iterator[Violation]:
    """Claims that a slot still held, unstarted, after a round of its attendant that found a neighbour at work for more
    than a second."""
    runs = {(each.job_id, each.fence): each for each in history.effects}
    for turn in history.rounds:
        held = [each for each in _held(history, turn.ended_at) if _slot(each) == (turn.worker_id, turn.slot)]
        began = [(each, runs.get((each.job_id, _fence(each)))) for each in held]
        at_work = [(each, run) for each, run in began if run is not None and _is_long_under_way(run, turn)]
        for claim, run in began:
            neighbour = next((run for each, run in at_work if each.txid == claim.txid), None)
            if neighbour is not None and (run is None or run.began_at > turn.ended_at):
                yield Violation(claim.job_id, "waits behind its neighbour for over a second", (neighbour, claim, turn))


def _started_late(history: History) -> Iterator[Violation]:
    """Runs that began over a second after one that was claimed with them."""
    first: dict[tuple[int, object], Effect] = {}
    for run in sorted(history.effects, key=lambda each: each.began_at):
        claim = history.claims.get((run.job_id, run.fence))
        if claim is None or run.clock is None:
            continue
        neighbour = first.setdefault((claim.txid, _slot(claim)), run)
        if neighbour.clock is not None and run.clock - neighbour.clock > _LONGEST_WAIT:
            yield Violation(run.job_id, "began over a second after its neighbour", (claim, neighbour, run))


def _forgotten(history: History) -> Iterator[Violation]:
    """Claims of a slot that rests: they would wait for an audit."""
    for rest in history.rests:
        for claim in _held(history, rest.at):
            if _slot(claim) == (rest.worker_id, rest.slot):
                yield Violation(claim.job_id, "is held by a slot that knows of no claim", (claim, rest))


def _held(history: History, at: datetime) -> Iterator[Transition]:
    """The claims that held at a moment."""
    for lines in history.by_job.values():
        last = next((line for line in reversed(lines) if line.at <= at), None)
        if last is not None and last.after is not None and last.after.state is State.RUNNING:
            yield from (line for line in lines if line.is_claim and _fence(line) == last.after.fence)


def _slot(claim: Transition) -> tuple[UUID | None, int | None] | None:
    return None if claim.after is None else (claim.after.worker_id, claim.after.slot)


def _is_long_under_way(run: Effect, turn: Round) -> bool:
    is_running = run.began_at <= turn.began_at and (run.ended_at is None or run.ended_at >= turn.ended_at)
    return is_running and run.clock is not None and turn.clock - run.clock > _LONGEST_WAIT


def _taken_away(history: History, ended: Mapping[UUID, datetime]) -> Iterator[Violation]:
    """Jobs that somebody took from the task that ran them, though its worker lived: another may run them meanwhile."""
    runs = {(each.job_id, each.fence): each for each in history.effects}
    apart = _CLOCKS_APART if history.is_timed else timedelta(0)
    for line in history.transitions:
        run = None if line.before is None else runs.get((line.job_id, line.before.fence))
        if run is None or run.ended_at is None or line.before is None or line.after is None:
            continue
        is_lost = line.before.state is State.RUNNING and line.after.fence != line.before.fence
        worker_id = line.before.worker_id
        is_alive = worker_id is not None and (worker_id not in ended or ended[worker_id] > line.at)
        if is_lost and is_alive and run.began_at <= line.at < run.ended_at - apart:
            yield Violation(line.job_id, "was taken from the task that ran it", (run, line))


def _overlapping(runs: list[Effect]) -> Iterator[tuple[Effect, Effect]]:
    """Pairs of which the second began before the first had ended. One without an end was killed, nobody knows when."""
    for place, first in enumerate(runs):
        for second in runs[place + 1 :]:
            if first.ended_at is not None and second.began_at < first.ended_at:
                yield first, second


def _by_job(effect: Effect) -> tuple[UUID, datetime]:
    return effect.job_id, effect.began_at


def _claim_of(history: History, effect: Effect) -> Transition | None:
    """The claim under which it ran. One that came later is another's, though its fence is the same."""
    claim = history.claims.get((effect.job_id, effect.fence))
    return claim if claim is not None and claim.at <= effect.began_at + _CLOCKS_APART else None


def _keys(row: Row | None) -> set[tuple[str, ...]]:
    """The keys that a row holds for itself alone."""
    found: set[tuple[str, ...]] = set()
    if row is not None and row.idempotency_key is not None:
        found.add(("idempotency key", str(row.idempotency_owner), row.idempotency_key))
    if row is not None and row.unique_key is not None and row.state in ACTIVE:
        found.add(("unique key", row.unique_key))
    return found


def _repeats_differ(history: History) -> Iterator[Violation]:
    """Of two accepted calls with one key, told apart by what they asked for and which job they were given."""
    deleted = {line.job_id for line in history.transitions if line.after is None}
    first: dict[tuple[str, str], Reply] = {}
    for reply in history.replies:
        if reply.call is not Call.SUBMIT or reply.idempotency is None or reply.answer is not Answer.ACCEPTED:
            continue
        former = first.setdefault(reply.idempotency, reply)
        if deleted.intersection(former.job_ids):
            first[reply.idempotency] = reply
        elif former.request != reply.request:
            yield Violation(former.job_ids[0], "its key was accepted for another request", (former, reply))
        elif former.job_ids != reply.job_ids:
            yield Violation(former.job_ids[0], "a repeat was given another job", (former, reply))


def _keys_of_others(history: History) -> Iterator[Violation]:
    """Accepted submits with a key, and the jobs that they were told of, which must have that key."""
    for reply in history.replies:
        if reply.call is not Call.SUBMIT or reply.idempotency is None or reply.answer is not Answer.ACCEPTED:
            continue
        for job_id in reply.job_ids:
            made = next((line for line in history.by_job.get(job_id, ()) if line.before is None), None)
            if made is not None and made.after is not None and made.after.idempotency_key != reply.idempotency[1]:
                yield Violation(job_id, f"is told to one who asked with key {reply.idempotency[1]!r}", (made, reply))


def _fence(line: Transition) -> int:
    return line.after.fence if line.after is not None else 0


def _started_or_left(after: Transition | None, is_traced: bool) -> datetime | None:
    """When a claim's run began, as its finish tells, or when it was given back: unstarted, if runs leave a trace."""
    if after is None or after.after is None:
        return None
    if after.cause is Cause.RELEASE:
        return after.at if is_traced else None
    return after.after.started_at if after.cause in (Cause.FINISH, Cause.RETRY_LATER) else None


def _is_troubled(history: History, since: datetime, until: datetime) -> bool:
    return any(span.since <= until and since <= span.until for span in history.troubles)

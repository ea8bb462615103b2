"""What becomes of the jobs of a slot that died: those that ran are accounted for, the others go back uncounted."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from steeple.domain.job import Claim, ClaimedJob, Finish
from steeple.domain.outcome import Failed, Outcome, Stopped, decide
from steeple.domain.retry import Retry
from steeple.domain.statistics import CounterName
from steeple.store import counters, transitions
from steeple.store.engine import Connection, Engine, briefly
from steeple.store.exchange import exchange, nobody, read_claimed
from steeple.worker.attempt import timed_out
from steeple.worker.batch import Ended
from steeple.worker.board import Running, Stop

Policies = Callable[[str], Retry]
"""The retry policy of a task, by its name."""


@dataclass(frozen=True)
class Death:
    """``running`` is what stands on the slot's seat; ``stops``: which of it had been asked to stop, and why.

    ``was_killed``: by us, for a task that did not heed that.
    """

    worker_id: UUID
    slot: int
    running: Sequence[Running]
    stops: Mapping[Claim, Stop]
    was_killed: bool


def settle(engine: Engine, death: Death, policies: Policies) -> None:
    """Account for every claim that the slot held. May be done again, should the reply be lost: all of it is fenced."""
    briefly(engine, lambda connection: _settle(connection, death, policies))


def _settle(connection: Connection, death: Death, policies: Policies) -> None:
    held = set(transitions.held_by_slot(connection, death.worker_id, death.slot))
    running = sorted((each for each in death.running if each.claim in held), key=lambda each: each.claim.id)
    stopped = [each for each in running if death.stops.get(each.claim) in _OUTCOMES]
    crashed = [] if death.was_killed else [each.claim for each in running if each.claim not in death.stops]
    _finish(connection, death, stopped, policies)
    if crashed:
        transitions.rescue(connection, crashed, "the process that ran the task died")
        counters.add(connection, {CounterName.CRASHES: len(crashed)})
    if left := held.difference(crashed, (each.claim for each in stopped)):
        transitions.release(connection, list(left))


def _finish(connection: Connection, death: Death, stopped: Sequence[Running], policies: Policies) -> None:
    """Those that were to stop have done so."""
    for each in stopped:
        job = read_claimed(connection, each.claim)
        if job is not None:
            finish = _outcome(job, each, _OUTCOMES[death.stops[each.claim]](job), policies(job.task))
            exchange(connection, [finish], nobody(death.worker_id, death.slot), 0)


_OUTCOMES: dict[Stop, Callable[[ClaimedJob], Outcome]] = {
    Stop.CANCEL: lambda _: Stopped(),
    Stop.TIMEOUT: lambda job: Failed(timed_out(job.timeout)),
}


def _outcome(job: ClaimedJob, running: Running, outcome: Outcome, policy: Retry) -> Finish:
    verdict = decide(
        outcome,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        policy=job.retry or policy,
        uniform=random.random(),  # noqa: S311 - jitter
    )
    now = monotonic()
    return Ended(running.claim, verdict, running.began, now).finish(now)

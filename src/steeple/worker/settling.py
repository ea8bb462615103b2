"""What becomes of the jobs of a slot that died: the one that ran is accounted for, the others go back uncounted."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from steeple.domain.job import Claim, ClaimedJob, Finish
from steeple.domain.outcome import Failed, Outcome, Stopped, decide
from steeple.domain.retry import Retry
from steeple.domain.statistics import CounterName
from steeple.store import counters, transitions
from steeple.store.engine import Connection, Engine, in_transaction
from steeple.store.exchange import exchange, nobody, read_claimed
from steeple.worker.batch import Ended
from steeple.worker.board import Running, Stop
from steeple.worker.perform import timed_out

Policies = Callable[[str], Retry]
"""The retry policy of a task, by its name."""


@dataclass(frozen=True)
class Death:
    """``stop``: what the task had been asked to do; None if the slot died all by itself."""

    worker_id: UUID
    slot: int
    running: Running | None
    stop: Stop | None


def settle(engine: Engine, death: Death, policies: Policies) -> None:
    """Account for every claim that the slot held. May be done again, should the reply be lost: all of it is fenced."""
    in_transaction(engine, lambda connection: _settle(connection, death, policies))


def _settle(connection: Connection, death: Death, policies: Policies) -> None:
    held = set(transitions.held_by_slot(connection, death.worker_id, death.slot))
    culprit = death.running.claim if death.running is not None and death.running.claim in held else None
    if culprit is not None and death.stop is not Stop.SHUTDOWN:
        held.discard(culprit)
        _account_for(connection, death, culprit, policies)
    if held:
        transitions.release(connection, list(held))


def _account_for(connection: Connection, death: Death, claim: Claim, policies: Policies) -> None:
    """The job that ran: its attempt is over."""
    if death.stop is None:
        transitions.rescue(connection, [claim], "the process that ran the task died")
        counters.add(connection, {CounterName.CRASHES: 1})
        return
    job = read_claimed(connection, claim)
    if job is not None and death.running is not None:
        finish = _finish(job, death.running, _OUTCOMES[death.stop](job), policies(job.task))
        exchange(connection, [finish], nobody(death.worker_id, death.slot), 0)


_OUTCOMES: dict[Stop, Callable[[ClaimedJob], Outcome]] = {
    Stop.CANCEL: lambda _: Stopped(),
    Stop.TIMEOUT: lambda job: Failed(timed_out(job.timeout)),
}


def _finish(job: ClaimedJob, running: Running, outcome: Outcome, policy: Retry) -> Finish:
    verdict = decide(
        outcome,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        policy=job.retry or policy,
        uniform=random.random(),  # noqa: S311 - jitter
    )
    now = monotonic()
    return Ended(running.claim, verdict, running.began, now).finish(now)

"""Deliberate faults in the product, one at a time: each a small change of its statements or functions, in this process.

A change of SQL names the text that it replaces, and fails if that is not there: no mutation outlives what it mutates.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from unittest import mock
from uuid import UUID

from sqlalchemy import Connection, Row, text
from starlette.requests import Request

from playground import NOW
from steeple.api import group_commit, job_changes
from steeple.api.replies import find_job
from steeple.api.services import services_of
from steeple.backend import Backend
from steeple.domain.job import Finish, NewJob
from steeple.domain.priority import Lane
from steeple.store import children, exchange, inbox, retention, transitions, workers
from steeple.store.engine import in_transaction
from steeple.store.inbox_answers import Accepted, Answer
from steeple.store.inbox_line import InboxLine
from steeple.worker import batch, ledger
from steeple.worker.batch import Batch, Ended
from steeple.worker.clerk import Clerk

Apply = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Mutation:
    """``apply`` makes the fault for the length of a block. ``scenario`` names a plan in ``scenarios`` that shows it."""

    name: str
    scenario: str
    apply: Apply


def _sql(module: ModuleType, constant: str, old: str, new: str, *, times: int = 1) -> Apply:
    """Replace a text by another in a statement of the store."""

    @contextmanager
    def apply() -> Iterator[None]:
        statement = str(getattr(module, constant))
        assert statement.count(old) == times, f"{constant} has {statement.count(old)} times: {old}"
        with mock.patch.object(module, constant, text(statement.replace(old, new))):
            yield

    return apply


def _instead(owner: Any, name: str, other: object) -> Apply:
    """Replace a function, or a number."""
    return lambda: mock.patch.object(owner, name, other)


def _by_application_clock(
    connection: Connection, finishes: Sequence[Finish], claimant: exchange.Claimant, limit: int, **_: object
) -> exchange.Exchanged:
    now = datetime.now(UTC) + timedelta(minutes=10)
    return exchange.exchange(connection, finishes, claimant, limit, now=now)


def _wake_and_store(backend: Backend, insert: Callable[..., Any], afterwards: Any, caller: object) -> Any:
    backend._wake(afterwards.due)
    return in_transaction(backend._open(), lambda connection: insert(connection, None))


def _without_hash(job: NewJob, rival: Row[Any]) -> Answer:
    return Accepted(rival.id, rival.run_at, rival.created_at, is_replay=rival.id != job.id)


def _retry_again(job_id: UUID) -> Callable[[Connection], Lane]:
    return lambda connection: transitions.retry(connection, job_id)


def _not_looked_into(_ledger: ledger.Ledger, ended: Sequence[Ended], **_: object) -> list[Ended]:
    return list(ended)


async def _wake_and_retry(request: Request, caller: object, job_id: str, query: object) -> None:
    job = await find_job(request, UUID(job_id))
    services = services_of(request)
    services.wakes.wake({Lane(job.queue, job.priority): 1})
    await services.writes.run(transitions.retry_once(job.id))


_store_batch = group_commit._Group._store
_insert_quickly = InboxLine._insert_quickly


async def _wake_and_store_batch(group: group_commit._Group, line: InboxLine, batch: Sequence[Any]) -> None:
    jobs = [waiting.job for waiting in batch]
    group._tell(jobs, [_accepted(job) for job in jobs])
    await _store_batch(group, line, batch)


async def _all_accepted(line: InboxLine, jobs: Sequence[NewJob]) -> list[Answer]:
    return await _insert_quickly(line, jobs) or [_accepted(job) for job in jobs]


async def _mixed_up(line: InboxLine, jobs: Sequence[NewJob]) -> list[Answer] | None:
    answers = await _insert_quickly(line, jobs)
    return None if answers is None else answers[::-1]


def _accepted(job: NewJob) -> Accepted:
    return Accepted(job.id, NOW, NOW)


def _nothing(*_: object) -> None:
    """Nothing is done."""


_FENCED = "claim.id = jobs.id AND claim.fence = jobs.fence"
_UNFENCED = "claim.id = jobs.id"
_NOT_WAITING = "set_config('synchronous_commit', 'off', true)"
_LOCKED = "CAST(:limit AS integer) FOR UPDATE SKIP LOCKED"

MUTATIONS: Sequence[Mutation] = (
    Mutation(
        "no fence in finish",
        "a late finish",
        _sql(exchange, "EXCHANGE", "WHERE id = finish.id AND fence = finish.fence AND", "WHERE id = finish.id AND"),
    ),
    Mutation(
        "fence reset on retry",
        "an explicit retry",
        _sql(transitions, "_RETRY", "fence = jobs.fence + 1", "fence = 0"),
    ),
    Mutation(
        "fence not raised on release",
        "a release",
        _sql(transitions, "_RELEASE", "fence = jobs.fence + 1, attempt", "attempt"),
    ),
    Mutation(
        "attempt counted on release",
        "a release",
        _sql(transitions, "_RELEASE", "attempt = attempt - 1", "attempt = attempt"),
    ),
    Mutation(
        "rescue without compare-and-set",
        "a late rescue",
        _sql(
            transitions, "_RESCUE", f"FROM jobs JOIN claim ON {_FENCED}", "FROM jobs JOIN claim ON claim.id = jobs.id"
        ),
    ),
    Mutation(
        "rescue of what a live worker runs",
        "a rescue while it runs",
        _sql(workers, "_ORPHANS", "AND (workers.id IS NULL OR workers.ended_at IS NOT NULL)", ""),
    ),
    Mutation(
        "rescue that counts no crash",
        "three crashes",
        _sql(transitions, "_RESCUE", "crashes = LEAST(crashes + 1, :crash_cap)", "crashes = crashes"),
    ),
    Mutation("crash cap one too high", "three crashes", _instead(transitions, "CRASH_CAP", 4)),
    Mutation("crash cap one too low", "three crashes", _instead(transitions, "CRASH_CAP", 2)),
    Mutation(
        "no SKIP LOCKED",
        "two claims beside a lock",
        _sql(exchange, "EXCHANGE", _LOCKED, "CAST(:limit AS integer) FOR UPDATE"),
    ),
    Mutation(
        "no lock on what is claimed",
        "two claims of one job",
        _sql(exchange, "EXCHANGE", _LOCKED, "CAST(:limit AS integer)"),
    ),
    Mutation(
        "claim before the job is due",
        "a scheduled job",
        _sql(exchange, "EXCHANGE", "starving_since, claimant.now", "starving_since, 'infinity'"),
    ),
    Mutation(
        "claim that ignores expires_at",
        "an expired job",
        _sql(exchange, "EXCHANGE", "AND (expires_at IS NULL OR expires_at > claimant.now)", "", times=3),
    ),
    Mutation(
        "expiry of a running job",
        "an expiry while it runs",
        _sql(transitions, "_EXPIRE", "WHERE state = 'PENDING' AND", "WHERE state IN ('PENDING', 'RUNNING') AND"),
    ),
    Mutation(
        "application clock instead of the database's",
        "a scheduled job",
        _instead(ledger, "exchange", _by_application_clock),
    ),
    Mutation("wake before commit", "a busy day", _instead(Backend, "_store", _wake_and_store)),
    Mutation(
        "cancel that ignores running jobs",
        "a cancellation while it runs",
        _sql(transitions, "_CANCEL", "state IN ('PENDING', 'RUNNING')", "state = 'PENDING'"),
    ),
    Mutation(
        "cancel that ends a running job at once",
        "a cancellation and a retry",
        _sql(transitions, "_CANCEL", "WHEN state = 'PENDING' THEN", "WHEN true THEN", times=3),
    ),
    Mutation(
        "finish that ignores cancel_requested_at",
        "a cancellation while it runs",
        _sql(exchange, "EXCHANGE", "AND cancel_requested_at IS NOT NULL THEN", "AND false THEN"),
    ),
    Mutation(
        "retry of a running job",
        "a retry of a running job",
        _sql(transitions, "_RETRY", "IN ('SUCCESS', 'FAILED', 'CANCELLED')", "<> 'PENDING'"),
    ),
    Mutation(
        "retry done again when its reply is lost",
        "a retry whose reply is lost",
        _instead(transitions, "retry_once", _retry_again),
    ),
    Mutation(
        "lost reply not looked into",
        "a claim whose reply is lost",
        _instead(ledger.Ledger, "_still_held", _not_looked_into),
    ),
    Mutation(
        "idempotency key without request hash",
        "the same key twice",
        _instead(inbox, "_answer_to_repeat", _without_hash),
    ),
    Mutation(
        "heartbeat that revives a buried worker",
        "a revived worker",
        _sql(
            workers,
            "_BEAT",
            "draining = :draining\nFROM durability WHERE id = :id AND ended_at IS NULL",
            "draining = :draining, ended_at = NULL\nFROM durability WHERE id = :id",
        ),
    ),
    Mutation(
        "claims that do not wait for the disk",
        "a crash of the server",
        _sql(exchange, "EXCHANGE", "set_config('synchronous_commit', 'on', true)", _NOT_WAITING),
    ),
    Mutation(
        "group commit that wakes before its commit",
        "requests that come together",
        _instead(group_commit._Group, "_store", _wake_and_store_batch),
    ),
    Mutation(
        "group commit that accepts what was left out",
        "requests that come together",
        _instead(InboxLine, "_insert_quickly", _all_accepted),
    ),
    Mutation(
        "group commit that mixes up its answers",
        "requests that come together",
        _instead(InboxLine, "_insert_quickly", _mixed_up),
    ),
    Mutation(
        "attendant that gives nothing back",
        "a release",
        _instead(Batch, "release_waiting", _nothing),
    ),
    Mutation(
        "start of what has waited for over a second",
        "a batch that nobody looks after",
        _instead(batch, "_LONGEST_WAIT_SECONDS", float("inf")),
    ),
    Mutation(
        "no audit of what the database holds for a worker",
        "a claim that lands late",
        _instead(Clerk, "_audit", _nothing),
    ),
    Mutation(
        "retry that wakes before its commit",
        "an explicit retry",
        _instead(job_changes, "retry_job", _wake_and_retry),
    ),
    Mutation(
        "retry that keeps a stale run_at",
        "a retry of what was put off",
        _sql(transitions, "_RETRY", "run_at = COALESCE(CAST(:now AS timestamptz), now())", "run_at = jobs.run_at"),
    ),
    Mutation(
        "claim taken for a retry whose reply was lost",
        "a refused retry whose reply is lost",
        _sql(transitions, "_FENCE", "state IN ('SUCCESS', 'FAILED', 'CANCELLED') AS", "true AS"),
    ),
    Mutation(
        "edit of a running job",
        "an edit of a running job",
        _sql(transitions, "_EDIT", "AND state = 'PENDING' AND", "AND"),
    ),
    Mutation("claim of what is held", "a child of two", _sql(exchange, "EXCHANGE", "held_by IS NULL AND", "", times=7)),
    Mutation(
        "finish that settles no children",
        "a child of two",
        _sql(exchange, "EXCHANGE", "locked WHERE has_children AND target", "locked WHERE false AND target"),
    ),
    Mutation(
        "finish that takes a failure for a success",
        "a child of a failure",
        _sql(exchange, "EXCHANGE", "array_agg(CAST(target AS job_state))", "array_agg(CAST('SUCCESS' AS job_state))"),
    ),
    Mutation(
        "children that no scheduler confirms",
        "a crash before the confirmation",
        _sql(children, "_UNCONFIRMED", "held_by = 'unconfirmed'", "held_by = 'nobody'"),
    ),
    Mutation(
        "prune of a job that has not ended",
        "pruning",
        _sql(retention, "_PRUNE", "finished_at", "COALESCE(finished_at, created_at)", times=3),
    ),
)

"""Deletes finished jobs and fires after their retention, batch by batch, and the rows of workers long gone and of
operations long over; thins old counts."""

from collections.abc import Sequence
from datetime import datetime
from time import monotonic

from steeple.domain.statistics import CounterName
from steeple.settings import Settings
from steeple.store import counters, fires, operations, retention, rollup, workers
from steeple.store.engine import Connection, Engine, in_transaction
from steeple.store.flows import forget_flows
from steeple.store.limits import forget_tokens
from steeple.store.retention import Rule
from steeple.store.weights import forget_shares
from steeple.telemetry import events

_LONGEST_PAUSE_SECONDS = 30.0
_BETWEEN_BATCHES_SECONDS = 0.05
"""Leaves the database to others between two batches."""

_BATCH = 1000
_WORKERS_LONGER_SECONDS = 86400.0
"""Workers' rows are kept so much longer than jobs, which name them."""

_LOOK_AT_ALL_SECONDS = 3600.0
"""So often queues with a retention of their own are gone through from their beginning, for jobs that were locked."""


class Prune:
    """A tick. ``single`` commits each statement by itself."""

    def __init__(self, engine: Engine, single: Engine, settings: Settings) -> None:
        self._engine = engine
        self._single = single
        self._retention = settings.retention
        self._done: dict[Rule, datetime] = {}
        self._look_at_all_at = 0.0

    def __call__(self) -> float:
        """One batch of jobs and one of fires; the rest once no full batch is left."""
        rules = in_transaction(self._single, lambda connection: retention.rules(connection, self._retention))
        for rule in rules:
            if self._prune(rule, is_only=len(rules) == 1) == _BATCH:
                return _BETWEEN_BATCHES_SECONDS
        if in_transaction(self._single, self._forget_fires) == _BATCH:
            return _BETWEEN_BATCHES_SECONDS
        in_transaction(self._engine, rollup.fold)
        in_transaction(self._single, lambda connection: self._forget(connection, rules))
        return min(_LONGEST_PAUSE_SECONDS, max(1.0, min(rule.seconds for rule in rules) / 10))

    def _prune(self, rule: Rule, *, is_only: bool) -> int:
        """How many went. Where there are several rules, each goes on from where it had come to."""
        if is_only:
            self._done.clear()
            return self._prune_since(rule, None)
        if monotonic() >= self._look_at_all_at:
            self._done.clear()
            self._look_at_all_at = monotonic() + _LOOK_AT_ALL_SECONDS
        cutoff = in_transaction(self._single, lambda connection: retention.cutoff(connection, rule.seconds))
        jobs = self._prune_since(rule, self._done.get(rule))
        if jobs < _BATCH:
            self._done[rule] = cutoff
        return jobs

    def _prune_since(self, rule: Rule, since: datetime | None) -> int:
        jobs = in_transaction(self._single, lambda connection: self._prune_jobs(connection, rule, since))
        if jobs:
            events.jobs_pruned(jobs)
        return jobs

    def _prune_jobs(self, connection: Connection, rule: Rule, since: datetime | None) -> int:
        jobs = retention.prune(
            connection, rule.seconds, queue=rule.queue, others=rule.others, since=since, limit=_BATCH
        )
        counters.add(connection, {CounterName.PRUNED: jobs})
        return jobs

    def _forget_fires(self, connection: Connection) -> int:
        return fires.forget(connection, self._retention, limit=_BATCH)

    def _forget(self, connection: Connection, rules: Sequence[Rule]) -> None:
        if len(rules) == 1:
            retention.forget_minutes(connection, self._retention)
        for rule in rules:
            if rule in self._done:
                retention.forget_minutes_until(connection, rule, self._done[rule])
        retention.forget_requests(connection, self._retention)
        forget_tokens(connection)
        forget_shares(connection)
        workers.forget(connection, max(rule.seconds for rule in rules) + _WORKERS_LONGER_SECONDS)
        operations.forget_operations(connection, self._retention)
        forget_flows(connection, max(rule.seconds for rule in rules))

"""Deletes finished jobs after their retention, batch by batch, and the rows of workers long gone; thins old counts."""

from steeple.domain.statistics import CounterName
from steeple.settings import Settings
from steeple.store import counters, retention, rollup, workers
from steeple.store.engine import Connection, Engine, in_transaction
from steeple.store.flows import forget_flows
from steeple.telemetry import events

_LONGEST_PAUSE_SECONDS = 30.0
_BETWEEN_BATCHES_SECONDS = 0.05
"""Leaves the database to others between two batches."""

_BATCH = 1000
_WORKERS_LONGER_SECONDS = 86400.0
"""Workers' rows are kept so much longer than jobs, which name them."""


class Prune:
    """A tick. ``single`` commits each statement by itself."""

    def __init__(self, engine: Engine, single: Engine, settings: Settings) -> None:
        self._engine = engine
        self._single = single
        self._retention = settings.retention

    def __call__(self) -> float:
        """One batch of jobs; the rest once no full batch is left."""
        jobs = in_transaction(self._single, self._prune_jobs)
        if jobs:
            events.jobs_pruned(jobs)
        if jobs == _BATCH:
            return _BETWEEN_BATCHES_SECONDS
        in_transaction(self._engine, rollup.fold)
        in_transaction(self._single, self._forget)
        return min(_LONGEST_PAUSE_SECONDS, max(1.0, self._retention / 10))

    def _prune_jobs(self, connection: Connection) -> int:
        jobs = retention.prune(connection, self._retention, limit=_BATCH)
        counters.add(connection, {CounterName.PRUNED: jobs})
        return jobs

    def _forget(self, connection: Connection) -> None:
        retention.forget_minutes(connection, self._retention)
        forget_flows(connection, self._retention)
        workers.forget(connection, self._retention + _WORKERS_LONGER_SECONDS)

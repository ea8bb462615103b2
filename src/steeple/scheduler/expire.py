"""Fails jobs that had not started by their ``expires_at``. No claim takes them meanwhile."""

from steeple.domain.statistics import CounterName
from steeple.store import counters, transitions
from steeple.store.engine import Connection, Engine, in_transaction
from steeple.telemetry import events

_PAUSE_SECONDS = 1.0
_MOST_AT_ONCE = 1000


def expire(single: Engine) -> float:
    """``single`` commits each statement by itself."""
    jobs = in_transaction(single, _expire)
    if jobs:
        events.jobs_expired(jobs)
    return 0.0 if jobs == _MOST_AT_ONCE else _PAUSE_SECONDS


def _expire(connection: Connection) -> int:
    jobs = transitions.expire(connection, limit=_MOST_AT_ONCE)
    counters.add(connection, {CounterName.EXPIRED: jobs})
    return jobs

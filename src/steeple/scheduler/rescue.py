"""Takes jobs from workers that went silent, so that they run elsewhere. The next ``wake_due`` wakes their lanes."""

from collections.abc import Iterable, Mapping
from functools import partial
from time import monotonic

from steeple.domain.job import Claim
from steeple.domain.statistics import CounterName
from steeple.settings import Settings
from steeple.store import counters, transitions
from steeple.store.engine import Connection, Engine, in_transaction
from steeple.store.workers import Orphan, bury, orphans
from steeple.telemetry import events

_PAUSE_SECONDS = 2.0
_MOST_AT_ONCE = 1000
_BATCH = 100
"""Of one transaction: each limit that its jobs name has a lock, of which the server holds some thousands in all."""


class Rescue:
    """A tick. ``single`` commits each statement by itself."""

    def __init__(self, engine: Engine, single: Engine, settings: Settings) -> None:
        self._engine = engine
        self._single = single
        self._dead_after = settings.worker_dead_after
        self._touch = _Touch(longest_gap=settings.worker_dead_after / 2, needed=2 * settings.heartbeat_interval)

    def __call__(self) -> float:
        """Rescue what dead workers held; then declare silent ones dead, whose jobs come next."""
        found = in_transaction(self._single, lambda connection: orphans(connection, limit=_MOST_AT_ONCE))
        self._touch.note(monotonic())
        for message, claims in _by_message(found, self._dead_after).items():
            for start in range(0, len(claims), _BATCH):
                batch = claims[start : start + _BATCH]
                jobs = in_transaction(self._engine, partial(_rescue, claims=batch, message=message))
                events.jobs_rescued(jobs, message)
        buried = self._bury() if self._touch.is_steady else ()
        return 0.0 if buried or len(found) == _MOST_AT_ONCE else min(_PAUSE_SECONDS, self._dead_after / 4)

    def _bury(self) -> tuple[str, ...]:
        buried = in_transaction(self._single, lambda connection: bury(connection, self._dead_after))
        for name in buried:
            events.worker_buried(name, self._dead_after)
        return buried


class _Touch:
    """Whether we ourselves have been in touch with the database for a while.

    Where it was away, no worker's heartbeat arrived either: they get the time for one before they count as silent.
    """

    def __init__(self, *, longest_gap: float, needed: float) -> None:
        self._longest_gap = longest_gap
        self._needed = needed
        self._since = self._last = float("-inf")

    def note(self, now: float) -> None:
        """The database has answered."""
        if now - self._last > self._longest_gap:
            self._since = now
        self._last = now

    @property
    def is_steady(self) -> bool:
        return self._last - self._since >= self._needed


def _rescue(connection: Connection, claims: list[Claim], message: str) -> int:
    """Each claim is fenced: of two schedulers that rescue the same job, one does."""
    rescued = transitions.rescue(connection, claims, message)
    counters.add(connection, {CounterName.RESCUES: rescued.jobs})
    return rescued.jobs


def _by_message(found: Iterable[Orphan], dead_after: float) -> Mapping[str, list[Claim]]:
    messages: dict[str, list[Claim]] = {}
    for orphan in found:
        messages.setdefault(_message(orphan, dead_after), []).append(orphan.claim)
    return messages


def _message(orphan: Orphan, dead_after: float) -> str:
    """What became of the worker, as the job's error tells it."""
    if orphan.worker is None or orphan.silence is None:
        return "the worker that ran the job is unknown"
    if orphan.silence < dead_after:
        return f"worker {orphan.worker} stopped without finishing the job"
    return f"worker {orphan.worker} was silent for {orphan.silence:.0f} s"

"""No-op jobs drained from a backlog that outlasts the measurement: all parts are at work from its first moment."""

from collections.abc import Callable
from time import monotonic, sleep

from bench import parts
from bench.arena import ContestantFailed, Turn

ENOUGH_PER_SECOND = 30_000
"""More jobs a second than any measurement needs."""

_WARM_UP_SECONDS = 2.0
_MARGIN_SECONDS = 4.0
_START_SECONDS = 60.0

# How many no-op jobs have ended well.
_RECORDED = "SELECT count(*) FROM jobs WHERE task = 'noop' AND state = 'SUCCESS'"


def backlog_for(seconds: float) -> int:
    """How many jobs must be due for a measurement of so many seconds."""
    return int(ENOUGH_PER_SECOND * (_WARM_UP_SECONDS + seconds + _MARGIN_SECONDS))


def rate_within(turn: Turn, backlog: int, seconds: float, start: Callable[[], object], workers: int = 1) -> float:
    """Jobs per second, of those numbered below ``backlog``. All parts are stopped afterwards.

    Raises ``ContestantFailed`` if a job ran twice, if one that ran is not recorded, or if none was left at the end.
    """
    with turn.arena.connect() as connection:
        before = parts.number_of(connection, _RECORDED)
    start()
    parts.wait_for_workers(turn.arena, workers)
    _wait_for_first(turn, backlog)
    sleep(_WARM_UP_SECONDS)
    mark = monotonic()
    sleep(seconds)
    until = monotonic()
    turn.stop_workers()
    ended = [moment for moment in turn.sheet.ended[:backlog] if moment]
    runs = sum(turn.sheet.runs[:backlog])
    with turn.arena.connect() as connection:
        recorded = parts.number_of(connection, _RECORDED) - before
    if not recorded == runs == len(ended) < backlog:
        raise ContestantFailed(f"of {backlog} jobs {len(ended)} ran, {runs} times in all; {recorded} are recorded")
    return sum(mark < moment <= until for moment in ended) / (until - mark)


def _wait_for_first(turn: Turn, backlog: int) -> None:
    deadline = monotonic() + _START_SECONDS
    while turn.sheet.missing(backlog) == backlog:
        if monotonic() > deadline:
            raise ContestantFailed(f"no job has ended after {_START_SECONDS:g} s")
        sleep(0.01)

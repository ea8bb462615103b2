"""Counts finished jobs per minute and in total, each once, so that nobody has to count the jobs themselves again.

After a while the minutes of an hour become one row, so that a week of them is read in a moment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from steeple.domain.histogram import BOUNDS, Histogram, in_bucket
from steeple.domain.states import State
from steeple.store.exchange import LATEST_FINISH

LAG = LATEST_FINISH + 2.0
"""Seconds that the roll-up stays behind: how late a finish may become visible without any transaction being open."""

PATIENCE = 90.0
"""A transaction open for longer (seconds) cannot be one that finishes jobs: time-outs end those well before."""

_SLICE = 20_000

FOLD_AFTER = 6 * 3600.0
"""Seconds for which counts are kept minute by minute."""

# True if a finished job is waiting to be counted.
_ANY = text("""
SELECT EXISTS (
    SELECT FROM jobs
    WHERE finished_at > (SELECT at FROM watermarks WHERE name = 'finished_minutes')
      AND finished_at <= now() - CAST(:lag AS float8) * interval '1 s'
)
""")

# One roll-up at a time, whoever runs it.
_LOCK = text("SELECT at FROM watermarks WHERE name = 'finished_minutes' FOR UPDATE SKIP LOCKED")

# Up to when all finishes are visible to the next statement: a transaction that is still open may hold earlier ones.
_HORIZON = text("""
WITH clock AS (SELECT COALESCE(CAST(:now AS timestamptz), now()) AS now)
SELECT LEAST(
    max(clock.now) - CAST(:lag AS float8) * interval '1 s',
    min(xact_start) - CAST(:latest_finish AS float8) * interval '1 s'
)
FROM clock LEFT JOIN pg_stat_activity
  ON datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
 AND xact_start > clock_timestamp() - CAST(:patience AS float8) * interval '1 s'
""")

# Where to stop so that about :slice jobs are counted; those that finished at the very same time stay together.
_SLICE_END = text("""
SELECT COALESCE(
    (SELECT finished_at FROM jobs WHERE finished_at > :after AND finished_at <= :horizon
     ORDER BY finished_at OFFSET :slice LIMIT 1),
    :horizon)
""")

# Jobs by minute and the rest, their durations by bucket. One that ended before it started, the first time or again,
# has neither run nor wait.
_COUNT = text("""
SELECT minute, queue, task, state, run_bucket, wait_bucket, count(*) AS jobs,
       COALESCE(sum(run), 0) AS run_seconds, COALESCE(sum(wait), 0) AS wait_seconds
FROM (
    SELECT date_trunc('minute', finished_at, 'UTC') AS minute, queue, task, state, run, wait,
           width_bucket(run, CAST(:bounds AS float8[])) AS run_bucket,
           width_bucket(wait, CAST(:bounds AS float8[])) AS wait_bucket
    FROM jobs LEFT JOIN LATERAL (
        SELECT CAST(EXTRACT(epoch FROM finished_at - started_at) AS float8) AS run,
               CAST(EXTRACT(epoch FROM started_at - run_at) AS float8) AS wait
        WHERE started_at >= run_at
    ) AS duration ON true
    WHERE finished_at > :after AND finished_at <= :until
) AS finished
GROUP BY minute, queue, task, state, run_bucket, wait_bucket
""")

# Adds to minutes and to totals, in one order whoever does it.
_ADD = text("""
WITH added AS MATERIALIZED (
    SELECT minute, queue, task, CAST(state AS job_state) AS state, jobs, run_seconds, wait_seconds,
           CAST(run_buckets AS bigint[]) AS run_buckets, CAST(wait_buckets AS bigint[]) AS wait_buckets
    FROM unnest(
        CAST(:minutes AS timestamptz[]), CAST(:queues AS text[]), CAST(:tasks AS text[]), CAST(:states AS text[]),
        CAST(:jobs AS bigint[]), CAST(:run_seconds AS float8[]), CAST(:wait_seconds AS float8[]),
        CAST(:run_buckets AS text[]), CAST(:wait_buckets AS text[])
    ) AS added (minute, queue, task, state, jobs, run_seconds, wait_seconds, run_buckets, wait_buckets)
),
minutes AS (
    INSERT INTO finished_minutes AS kept
        (minute, queue, task, state, jobs, run_seconds, wait_seconds, run_buckets, wait_buckets)
    SELECT minute, queue, task, state, jobs, run_seconds, wait_seconds, run_buckets, wait_buckets
    FROM added WHERE minute IS NOT NULL
    ON CONFLICT (minute, queue, task, state) DO UPDATE SET
        jobs = kept.jobs + excluded.jobs,
        run_seconds = kept.run_seconds + excluded.run_seconds,
        wait_seconds = kept.wait_seconds + excluded.wait_seconds,
        run_buckets = ARRAY(SELECT a + b FROM unnest(kept.run_buckets, excluded.run_buckets) AS pair (a, b)),
        wait_buckets = ARRAY(SELECT a + b FROM unnest(kept.wait_buckets, excluded.wait_buckets) AS pair (a, b))
)
INSERT INTO finished_totals AS kept (queue, task, state, jobs, run_seconds, wait_seconds, run_buckets, wait_buckets)
SELECT queue, task, state, jobs, run_seconds, wait_seconds, run_buckets, wait_buckets FROM added WHERE minute IS NULL
ON CONFLICT (queue, task, state) DO UPDATE SET
    jobs = kept.jobs + excluded.jobs,
    run_seconds = kept.run_seconds + excluded.run_seconds,
    wait_seconds = kept.wait_seconds + excluded.wait_seconds,
    run_buckets = ARRAY(SELECT a + b FROM unnest(kept.run_buckets, excluded.run_buckets) AS pair (a, b)),
    wait_buckets = ARRAY(SELECT a + b FROM unnest(kept.wait_buckets, excluded.wait_buckets) AS pair (a, b))
""")

# Takes counts of minutes out that are to become part of their hour's, which stands at its first minute.
_TAKE_OLD_MINUTES = text("""
DELETE FROM finished_minutes WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM finished_minutes
    WHERE minute < date_trunc('hour', COALESCE(CAST(:now AS timestamptz), now())
                              - CAST(:fold_after AS float8) * interval '1 s', 'UTC')
      AND minute <> date_trunc('hour', minute, 'UTC')
    ORDER BY minute LIMIT :limit FOR UPDATE SKIP LOCKED
))
RETURNING date_trunc('hour', minute, 'UTC') AS hour, queue, task, state, jobs, run_seconds, wait_seconds,
          run_buckets, wait_buckets
""")

# Moves the mark: all that finished before it has been counted.
_ADVANCE = text("UPDATE watermarks SET at = :until WHERE name = 'finished_minutes'")


@dataclass(frozen=True)
class RolledUp:
    """``jobs`` were counted; ``is_behind`` if more are ready to be."""

    jobs: int
    is_behind: bool


class _Key(NamedTuple):
    """``minute`` None: the total of all minutes."""

    minute: datetime | None
    queue: str
    task: str
    state: State


class _Tally(NamedTuple):
    jobs: int
    run: Histogram
    wait: Histogram


def has_uncounted(connection: Connection) -> bool:
    """True if a roll-up would find something: a look that costs next to nothing."""
    return bool(connection.execute(_ANY, {"lag": LAG}).scalar_one())


def roll_up(connection: Connection, *, slice_size: int = _SLICE, now: datetime | None = None) -> RolledUp:
    """Count the jobs that finished since the last time, a slice of them if there are many. Needs a transaction.

    Does nothing while somebody else is at it. A job that is started anew and finishes again counts again.
    """
    after = connection.execute(_LOCK).scalar()
    if after is None:
        return RolledUp(0, is_behind=False)
    limits = {"lag": LAG, "latest_finish": LATEST_FINISH, "patience": PATIENCE, "now": now}
    horizon = connection.execute(_HORIZON, limits).scalar_one()
    if horizon <= after:
        return RolledUp(0, is_behind=False)
    bounds = {"after": after, "horizon": horizon, "slice": slice_size}
    until = connection.execute(_SLICE_END, bounds).scalar_one()
    rows = connection.execute(_COUNT, {"after": after, "until": until, "bounds": list(BOUNDS)}).all()
    if rows:
        connection.execute(_ADD, _columns(_tallies(rows)))
    connection.execute(_ADVANCE, {"until": until})
    return RolledUp(sum(row.jobs for row in rows), is_behind=until < horizon)


def fold(connection: Connection, *, limit: int = 5000, now: datetime | None = None) -> int:
    """Add the counts of minutes long past to those of their hours, up to ``limit`` of them; returns how many.

    Needs a transaction.
    """
    rows = connection.execute(_TAKE_OLD_MINUTES, {"limit": limit, "fold_after": FOLD_AFTER, "now": now}).all()
    found: dict[_Key, _Tally] = {}
    for row in rows:
        key = _Key(row.hour, row.queue, row.task, State(row.state))
        run = Histogram(tuple(row.run_buckets), row.run_seconds)
        wait = Histogram(tuple(row.wait_buckets), row.wait_seconds)
        _add(found, key, _Tally(row.jobs, run, wait))
    if found:
        connection.execute(_ADD, _columns(found))
    return len(rows)


def _tallies(rows: Iterable[Row[Any]]) -> dict[_Key, _Tally]:
    """Sums per minute, and over the minutes."""
    found: dict[_Key, _Tally] = {}
    for row in rows:
        run = in_bucket(row.run_bucket, row.jobs, row.run_seconds)
        wait = in_bucket(row.wait_bucket, row.jobs, row.wait_seconds)
        _add(found, _Key(row.minute, row.queue, row.task, State(row.state)), _Tally(row.jobs, run, wait))
    for key, tally in list(found.items()):
        _add(found, key._replace(minute=None), tally)
    return found


def _add(found: dict[_Key, _Tally], key: _Key, more: _Tally) -> None:
    former = found.get(key)
    if former is not None:
        more = _Tally(former.jobs + more.jobs, former.run + more.run, former.wait + more.wait)
    found[key] = more


def _columns(tallies: Mapping[_Key, _Tally]) -> dict[str, Any]:
    keys = sorted(tallies, key=lambda key: (str(key.minute), key.queue, key.task, key.state))
    ordered = [tallies[key] for key in keys]
    return {
        "minutes": [key.minute for key in keys],
        "queues": [key.queue for key in keys],
        "tasks": [key.task for key in keys],
        "states": [key.state.value for key in keys],
        "jobs": [tally.jobs for tally in ordered],
        "run_seconds": [tally.run.seconds for tally in ordered],
        "wait_seconds": [tally.wait.seconds for tally in ordered],
        "run_buckets": [_array_literal(tally.run.counts) for tally in ordered],
        "wait_buckets": [_array_literal(tally.wait.counts) for tally in ordered],
    }


def _array_literal(counts: Iterable[int]) -> str:
    """An array in its text form: ``unnest`` would take an array of arrays apart to the last number."""
    return f"{{{','.join(map(str, counts))}}}"

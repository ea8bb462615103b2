"""Limits that are set, and what of them is in use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from steeple.domain.limits import Limit, Limits, Rate, Use

# One after the other in one order, so that nobody waits in a circle. Whatever counts by these keys waits for us.
_LOCK = text("""
SELECT count(pg_advisory_xact_lock(hashtextextended(key, 0))) FROM (
    SELECT key FROM unnest(CAST(:keys AS text[])) AS key ORDER BY key COLLATE "C"
) AS ordered
""")

# No claim by rules while a limit of a pattern is being set: it may hold for any key.
_LOCK_PATTERNS = text("SELECT pg_advisory_xact_lock(hashtextextended('patterns', 2))")

# The locks of all keys that some jobs name, in the one order.
_LOCK_OF = text("""
SELECT count(pg_advisory_xact_lock(hashtextextended(key, 0))) FROM (
    SELECT DISTINCT key COLLATE "C" AS key FROM jobs CROSS JOIN LATERAL unnest(limits) AS key
    WHERE id = ANY (CAST(:ids AS uuid[])) AND limits IS NOT NULL ORDER BY 1
) AS key
""")

# The keys whose locks are free, now ours.
_TRY_LOCK = text("""
SELECT key FROM unnest(CAST(:keys AS text[])) AS key WHERE pg_try_advisory_xact_lock(hashtextextended(key, 0))
""")

# The limits set for these keys, and all patterns.
_LIMITS_OF = text("""
SELECT key, max_running, rate_count, rate_period, rate_burst FROM limits WHERE key = ANY (CAST(:keys AS text[]))
UNION
SELECT key, max_running, rate_count, rate_period, rate_burst FROM limits WHERE key LIKE '%*%'
""")

# How many jobs run that name each of some keys, and what is left of the keys' rates.
_USE = text("""
SELECT wanted.key, COALESCE(running.jobs, 0) AS running, limit_tokens.tokens,
       CAST(EXTRACT(epoch FROM CAST(:now AS timestamptz) - limit_tokens.at) AS float8) AS seconds
FROM unnest(CAST(:keys AS text[])) AS wanted (key)
LEFT JOIN (
    SELECT key, count(*) AS jobs FROM jobs CROSS JOIN LATERAL unnest(limits) AS key
    WHERE state = 'RUNNING' AND limits IS NOT NULL GROUP BY key
) AS running USING (key)
LEFT JOIN limit_tokens USING (key)
""")

# What is left of rates that were taken from.
_WRITE_TOKENS = text("""
INSERT INTO limit_tokens (key, tokens, at)
SELECT key, tokens, :now FROM unnest(CAST(:keys AS text[]), CAST(:tokens AS float8[])) AS taken (key, tokens)
ORDER BY key
ON CONFLICT (key) DO UPDATE SET tokens = excluded.tokens, at = GREATEST(limit_tokens.at, excluded.at)
""")


# How many jobs run that name each of some keys, and how many wait for it.
_IN_USE = text("""
SELECT wanted.key, COALESCE(running.jobs, 0) AS running, (
    SELECT count(*) FROM jobs
    WHERE state = 'PENDING' AND held_by IS NOT NULL AND held_by IN ('limit:' || wanted.key, 'rate:' || wanted.key)
) AS waiting
FROM unnest(CAST(:keys AS text[])) AS wanted (key)
LEFT JOIN (
    SELECT key, count(*) AS jobs FROM jobs CROSS JOIN LATERAL unnest(limits) AS key
    WHERE state = 'RUNNING' AND limits IS NOT NULL GROUP BY key
) AS running USING (key)
""")

# Sets a limit, in place of what was set for the key.
_SET = text("""
INSERT INTO limits (key, max_running, rate_count, rate_period, rate_burst)
VALUES (:key, :max_running, :rate_count, :rate_period, :rate_burst)
ON CONFLICT (key) DO UPDATE SET
    max_running = excluded.max_running, rate_count = excluded.rate_count, rate_period = excluded.rate_period,
    rate_burst = excluded.rate_burst, updated_at = now()
""")

# Takes a limit away.
_DELETE = text("DELETE FROM limits WHERE key = :key RETURNING key")

# Forgets buckets that have long been full again, whatever their rate.
_FORGET = text("""
DELETE FROM limit_tokens WHERE at < now() - interval '1 h' - (
    SELECT COALESCE(max(rate_period * COALESCE(rate_burst, rate_count) / rate_count), 0) FROM (
        SELECT rate_period, rate_burst, rate_count FROM limits
        UNION ALL SELECT rate_period, rate_burst, rate_count FROM queues
    ) AS rate
) * interval '1 s'
""")

# A page of what is set.
_PAGE = text("""
SELECT key, max_running, rate_count, rate_period, rate_burst FROM limits WHERE key > :after ORDER BY key LIMIT :limit
""")


def set_limit(connection: Connection, limit: Limit) -> None:
    """Set it in place of another. The locks of claims see to it that none counts by both."""
    _lock_setting(connection, limit.key)
    rate = limit.rate
    connection.execute(
        _SET,
        {
            "key": limit.key,
            "max_running": limit.max_running,
            "rate_count": None if rate is None else rate.count,
            "rate_period": None if rate is None else rate.period,
            "rate_burst": None if rate is None else rate.burst,
        },
    )


def delete_limit(connection: Connection, key: str) -> bool:
    """False if none was set for the key."""
    _lock_setting(connection, key)
    return connection.execute(_DELETE, {"key": key}).first() is not None


def forget_tokens(connection: Connection) -> int:
    """Forget what says nothing any more; returns how many keys."""
    return connection.execute(_FORGET).rowcount


def read_limit(connection: Connection, key: str) -> Limit | None:
    """What is set for this key or pattern itself."""
    found = map(_limit, connection.execute(_LIMITS_OF, {"keys": [key]}))
    return next((limit for limit in found if limit.key == key), None)


def list_limits(connection: Connection, after: str, limit: int) -> list[Limit]:
    """Those after a key, in their order."""
    return list(map(_limit, connection.execute(_PAGE, {"after": after, "limit": limit})))


@dataclass(frozen=True)
class InUse:
    """A limit, how many jobs run that name its very key, and how many wait for that."""

    limit: Limit
    running: int
    waiting: int


def limits_in_use(connection: Connection, after: str, limit: int) -> list[InUse]:
    """``list_limits``, with what is in use."""
    return in_use(connection, list_limits(connection, after, limit))


def in_use(connection: Connection, found: Sequence[Limit]) -> list[InUse]:
    """What is in use of these limits."""
    rows = connection.execute(_IN_USE, {"keys": [limit.key for limit in found]}).all()
    known = {row.key: row for row in rows}
    return [InUse(limit, known[limit.key].running, known[limit.key].waiting) for limit in found]


def lock_keys(connection: Connection, keys: Sequence[str], *, may_wait: bool) -> set[str]:
    """Take the locks of ``keys`` for the rest of the transaction: all of them, or those that are free."""
    if not keys:
        return set()
    if may_wait:
        connection.execute(_LOCK, {"keys": list(keys)})
        return set(keys)
    return set(connection.execute(_TRY_LOCK, {"keys": sorted(keys)}).scalars())


def lock_keys_of(connection: Connection, ids: Sequence[UUID]) -> None:
    """Take the locks of all keys that jobs name, where several statements of one transaction would each take some."""
    connection.execute(_LOCK_OF, {"ids": list(ids)})


def _lock_setting(connection: Connection, key: str) -> None:
    if "*" in key:
        connection.execute(_LOCK_PATTERNS)
    lock_keys(connection, [key], may_wait=True)


def uses_of(connection: Connection, keys: Sequence[str], now: datetime) -> dict[str, Use]:
    """What is in use of the limits of ``keys``, whose locks we have. Keys that nothing limits are left out."""
    if not keys:
        return {}
    limits = Limits(map(_limit, connection.execute(_LIMITS_OF, {"keys": list(keys)})))
    limited = {key: limit for key in keys if (limit := limits.of(key)) is not None}
    if not limited:
        return {}
    rows = connection.execute(_USE, {"keys": list(limited), "now": now})
    return {row.key: _use(limited[row.key], row) for row in rows}


def write_tokens(connection: Connection, uses: Mapping[str, Use], now: datetime) -> None:
    """Keep what is left of the rates."""
    rated = {key: use.tokens for key, use in uses.items() if use.limit.rate is not None}
    if rated:
        connection.execute(_WRITE_TOKENS, {"keys": list(rated), "tokens": list(rated.values()), "now": now})


def _limit(row: Row[Any]) -> Limit:
    rate = None if row.rate_count is None else Rate(row.rate_count, row.rate_period, row.rate_burst)
    return Limit(row.key, row.max_running, rate)


def _use(limit: Limit, row: Row[Any]) -> Use:
    if limit.rate is None:
        return Use(limit, row.running)
    tokens = limit.rate.capacity if row.tokens is None else limit.rate.tokens(row.tokens, row.seconds)
    return Use(limit, row.running, tokens)

"""Jobs that limits have put aside, and when they may try again."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from steeple.domain.limits import Block, Use
from steeple.store.limits import lock_keys, uses_of

# What holds jobs back by limits of a kind: skips through the index from one to the next.
_HOLDERS = text("""
WITH RECURSIVE holder (held_by) AS (
    (SELECT held_by FROM jobs
     WHERE state = 'PENDING' AND held_by IS NOT NULL AND held_by > :first AND held_by < :last
     ORDER BY held_by LIMIT 1)
    UNION ALL
    SELECT following.held_by FROM holder CROSS JOIN LATERAL (
        SELECT held_by FROM jobs
        WHERE state = 'PENDING' AND held_by IS NOT NULL AND held_by > holder.held_by AND held_by < :last
        ORDER BY held_by LIMIT 1
    ) AS following
)
SELECT held_by FROM holder LIMIT :limit
""")

# The database's time, now and not when the transaction began.
_NOW = text("SELECT COALESCE(CAST(:now AS timestamptz), clock_timestamp())")

# Lets the first of those that something holds back try again: the highest priority first, then the longest due.
_UNPARK = text("""
UPDATE jobs SET held_by = NULL WHERE id IN (
    SELECT id FROM jobs WHERE state = 'PENDING' AND held_by = :held_by
    ORDER BY priority, run_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")

# Lets all of them try again.
_UNPARK_LIKE = text("""
UPDATE jobs SET held_by = NULL
WHERE state = 'PENDING' AND held_by IS NOT NULL AND held_by LIKE ANY (CAST(:likes AS text[]))
""")

_MOST_HOLDERS = 10_000
_MOST_AT_ONCE = 10_000


@dataclass(frozen=True)
class Unparked:
    """``next_in``: seconds until a rate that holds jobs back has its next token; None if none does."""

    jobs: int
    next_in: float | None


def holders(connection: Connection, block: Block) -> list[str]:
    """The keys whose limits hold jobs back, up to 10,000."""
    first = f"{block.value}:"
    values = {"first": first, "last": f"{block.value};", "limit": _MOST_HOLDERS}
    return [row.held_by.removeprefix(first) for row in connection.execute(_HOLDERS, values)]


def unpark(connection: Connection, block: Block, key: str, *, now: datetime | None = None) -> Unparked:
    """Let as many jobs try again as the key's limit has room for."""
    lock_keys(connection, [key], may_wait=True)
    at = connection.execute(_NOW, {"now": now}).scalar_one()
    use = uses_of(connection, [key], at).get(key)
    room = _MOST_AT_ONCE if use is None else min(use.room, _MOST_AT_ONCE)
    jobs = _let_go(connection, block, key, int(room)) if room else 0
    return Unparked(jobs, _next_in(use, jobs))


def _let_go(connection: Connection, block: Block, key: str, limit: int) -> int:
    return connection.execute(_UNPARK, {"held_by": f"{block.value}:{key}", "limit": limit}).rowcount


def _next_in(use: Use | None, taken: int) -> float | None:
    if use is None or use.limit.rate is None:
        return None
    return use.limit.rate.seconds_until(1.0, use.tokens - taken)


def unpark_of(connection: Connection, key: str) -> int:
    """Let all jobs try again that a key's limit holds back, or those of a pattern, as after a change of them."""
    likes = [f"{block.value}:{_as_like(key)}" for block in Block]
    return connection.execute(_UNPARK_LIKE, {"likes": likes}).rowcount


def _as_like(pattern: str) -> str:
    for character in "\\%_":
        pattern = pattern.replace(character, f"\\{character}")
    return pattern.replace("*", "%")

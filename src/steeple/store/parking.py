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

# Lets the first of those that something holds back try again, of each lane as many: some lane may have no worker.
_UNPARK = text("""
WITH RECURSIVE lane (queue, priority) AS (
    (SELECT queue, priority FROM jobs WHERE state = 'PENDING' AND held_by = :held_by ORDER BY queue, priority LIMIT 1)
    UNION ALL
    SELECT following.queue, following.priority FROM lane CROSS JOIN LATERAL (
        SELECT queue, priority FROM jobs
        WHERE state = 'PENDING' AND held_by = :held_by AND (queue, priority) > (lane.queue, lane.priority)
        ORDER BY queue, priority LIMIT 1
    ) AS following
)
UPDATE jobs SET held_by = NULL WHERE id IN (
    SELECT first.id FROM lane CROSS JOIN LATERAL (
        SELECT id FROM jobs
        WHERE state = 'PENDING' AND held_by = :held_by AND queue = lane.queue AND priority = lane.priority
          AND run_at <= clock_timestamp() AND (expires_at IS NULL OR expires_at > clock_timestamp())
        ORDER BY run_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS first
)
""")

# Lets some of them try again; the scheduler sees to the others.
_UNPARK_LIKE = text("""
UPDATE jobs SET held_by = NULL WHERE id IN (
    SELECT id FROM jobs
    WHERE state = 'PENDING' AND held_by IS NOT NULL AND held_by LIKE ANY (CAST(:likes AS text[]))
    LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")

_MOST_AT_ONCE = 1000


@dataclass(frozen=True)
class Unparked:
    """``next_in``: seconds until a rate that holds jobs back has its next token; None if none does."""

    jobs: int
    next_in: float | None


def holders(connection: Connection, block: Block, after: str = "", *, limit: int = 10_000) -> list[str]:
    """The keys whose limits hold jobs back, some of those that come after one."""
    first = f"{block.value}:"
    values = {"first": first + after, "last": f"{block.value};", "limit": limit}
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
    """Let jobs try again that a key's limit holds back, or those of a pattern, as after a change of them: up to 1,000,
    and the scheduler lets the others, as far as there is room."""
    likes = [f"{block.value}:{_as_like(key)}" for block in Block]
    return connection.execute(_UNPARK_LIKE, {"likes": likes, "limit": _MOST_AT_ONCE}).rowcount


def _as_like(pattern: str) -> str:
    for character in "\\%_":
        pattern = pattern.replace(character, f"\\{character}")
    return pattern.replace("*", "%")

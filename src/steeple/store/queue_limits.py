"""The limit that all jobs of a queue have: how many of them run at once, and start in a time.

Claims of such a queue are all made by rules, which take turns by queue: what is counted here nobody else changes.
"""

from datetime import datetime

from sqlalchemy import Connection, text

from steeple.domain.limits import Limit, Rate, Use

# A queue's limit, how many of its jobs run, and what is left of its rate. No job can name such a key.
_USE = text("""
SELECT '*queue:' || name AS key, max_running, rate_count, rate_period, rate_burst,
       (SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND jobs.queue = queues.name) AS running, tokens,
       CAST(EXTRACT(epoch FROM CAST(:now AS timestamptz) - at) AS float8) AS seconds
FROM queues LEFT JOIN limit_tokens ON limit_tokens.key = '*queue:' || name
WHERE name = :queue AND (max_running IS NOT NULL OR rate_count IS NOT NULL)
""")


def use_of_queue(connection: Connection, queue: str, now: datetime) -> Use | None:
    """None if the queue has no limit."""
    row = connection.execute(_USE, {"queue": queue, "now": now}).first()
    if row is None:
        return None
    rate = None if row.rate_count is None else Rate(row.rate_count, row.rate_period, row.rate_burst)
    use = Use(Limit(row.key, row.max_running, rate), row.running)
    if rate is not None:
        use.tokens = rate.capacity if row.tokens is None else rate.tokens(row.tokens, row.seconds)
    return use

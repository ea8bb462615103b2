"""A transaction that somebody holds open all the while: what has been claimed cannot be cleaned away behind it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench import parts
from bench.arena import Arena, ContestantFailed
from bench.drains import Load, drain_in
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row

_LOAD = Load("noop", "short")
_FIRST_GUESS = 8000.0
"""Jobs per second, for the first round."""

# A transaction with a number of its own, whose snapshot is taken by its first query.
_HOLD = (
    "SET idle_in_transaction_session_timeout = 0",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "SELECT pg_current_xact_id()",
)
_IS_OLDEST = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'idle in transaction'"


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena = conditions.arena
    jobs = max(500, int(conditions.rates.get("held free", _FIRST_GUESS) * conditions.seconds))
    with arena.turn(entrant_named(STEEPLE), places=jobs) as turn:
        if name == "held":
            with _held(arena):
                return {"rate": drain_in(turn, conditions, _LOAD, jobs, lambda: turn.start_workers("short")).rate}
        rate = drain_in(turn, conditions, _LOAD, jobs, lambda: turn.start_workers("short")).rate
    conditions.rates["held free"] = rate
    return {"rate": rate}


@contextmanager
def _held(arena: Arena) -> Iterator[None]:
    """Raises ``ContestantFailed`` if the transaction did not last to the end."""
    with arena.connect() as holder, arena.connect() as other:
        for statement in _HOLD:
            holder.execute(statement)
        yield
        if not parts.number_of(other, _IS_OLDEST, holder.info.backend_pid):
            raise ContestantFailed("the transaction was not held to the end")
        holder.execute("ROLLBACK")


ROW = Row(
    name="held",
    title="No-op jobs drained while somebody's transaction stays open",
    contestants=["held", "free"],
    figures=[Figure("rate", "no-op jobs drained", "jobs/s")],
    measure=_measure,
    note="It begins before the jobs are submitted and ends after the last has finished.",
    first="held",
    titles={"held": "a transaction held open", "free": "none held open"},
)

"""Jobs with limits and fair keys beside plain ones: what deciding costs, and whether what waits holds up others."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench import backlog, parts, windows
from bench.arena import Turn
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row

_KEYS = 100
_BLOCKED = 10_000

# A limit for each key that never fills, and one that is full from the beginning.
_LIMITS = """
INSERT INTO limits (key, max_running) VALUES ('key:*', 1000000), ('full', 0)
"""


@dataclass(frozen=True)
class _Kind:
    """``change``: what makes jobs of the kind of plain ones."""

    title: str
    change: str = ""


_KINDS = {
    "plain": _Kind("plain jobs"),
    "limited": _Kind(f"each with one of {_KEYS} limits", f"limits = ARRAY['key:' || random(1, {_KEYS})]"),
    "one": _Kind("all with the same limit", "limits = ARRAY['key:1']"),
    "fair": _Kind(f"each with one of {_KEYS} fair keys", f"fair_key = 'tenant:' || random(1, {_KEYS})"),
    "behind": _Kind(
        f"with a limit, behind {_BLOCKED:,} that theirs holds back",
        f"limits = CASE WHEN row <= {_BLOCKED} THEN ARRAY['full'] ELSE ARRAY['key:1'] END",
    ),
}

# Makes the backlog's jobs what is wanted; the first in their order are the first.
_CHANGE = """
UPDATE jobs SET {change}
FROM (SELECT id, row_number() OVER (ORDER BY run_at, id) AS row FROM jobs) AS numbered WHERE numbered.id = jobs.id
"""


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena, kind, jobs = conditions.arena, _KINDS[name], windows.backlog_for(conditions.seconds)
    with arena.turn(entrant_named(STEEPLE), places=jobs) as turn:
        backlog.add_due(arena, jobs)
        with arena.connect() as connection:
            connection.execute(_LIMITS)
            if kind.change:
                connection.execute(_CHANGE.format(change=kind.change).encode())
        arena.settle()
        return {"rate": windows.rate_within(turn, jobs, conditions.seconds, lambda: _start(turn), 1)}


def _start(turn: Turn) -> None:
    turn.start(parts.scheduler())
    turn.start(parts.worker(2))


ROW = Row(
    name="limits",
    title="No-op jobs drained, with limits and fair keys",
    contestants=list(_KINDS),
    figures=[Figure("rate", "no-op jobs drained", "jobs/s")],
    measure=_measure,
    note="Of the limits one is full from the beginning, the others never.",
    first="limited",
    titles={name: kind.title for name, kind in _KINDS.items()},
)

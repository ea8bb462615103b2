"""Nothing to do: what an API, a scheduler and a worker cost while they wait."""

from collections.abc import Mapping
from time import monotonic, sleep

from bench import parts
from bench.footprint import processor_seconds
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row
from bench.statements import StatementLog

_SETTLING_SECONDS = 10.0
_WATCHED_SECONDS = 20.0
"""At the most: a short run settles and watches for less."""


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena = conditions.arena
    with arena.turn(entrant_named(name), places=1) as turn:
        log = StatementLog(arena)
        for command in (parts.api(arena.port), parts.scheduler(), parts.worker(2)):
            turn.start(command)
        parts.wait_for_server(arena.port)
        parts.wait_for_workers(arena)
        sleep(min(_SETTLING_SECONDS, 3 * conditions.seconds))
        log.mark()
        began, used = monotonic(), processor_seconds(turn.pids())
        sleep(min(_WATCHED_SECONDS, 6 * conditions.seconds))
        used = processor_seconds(turn.pids()) - used
        took = monotonic() - began
        return {"processor": used / took, "statements": log.count() / took}


ROW = Row(
    name="idle",
    title="API, scheduler and a worker of 2 slots with nothing to do",
    contestants=[STEEPLE],
    figures=[
        Figure("processor", "of one core", "%", better="lower"),
        Figure("statements", "statements to PostgreSQL", "per second", better="lower"),
    ],
    measure=_measure,
    note="Their own processes, without PostgreSQL's and Valkey's. Statements are those in the server's log, every BEGIN"
    " and COMMIT among them.",
)

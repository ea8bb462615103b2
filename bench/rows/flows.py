"""Ten thousand jobs for which one more waits, beside as many that nobody waits for: what a fan-in costs each."""

from collections.abc import Mapping

from pydantic import SecretStr

from bench import bodies
from bench.arena import Arena, ContestantFailed, Turn
from bench.drains import Load, drain_in
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row
from steeple import Steeple
from steeple.settings import Settings

_JOBS = 10_000
_LOAD = Load("noop", "short")

# Whether the one that waits has been let go.
_LET_GO = "SELECT count(*) FROM jobs WHERE on_parent_failure IS NOT NULL AND held_by IS NULL"


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    with conditions.arena.turn(entrant_named(STEEPLE), places=_JOBS) as turn:

        def start() -> None:
            if name == "fan_in":
                _wait_for_all(conditions.arena)
            turn.start_workers(_LOAD.workload)

        rate = drain_in(turn, conditions, _LOAD, _JOBS, start).rate
        if name == "fan_in":
            _require_let_go(turn)
        return {"rate": rate}


def _wait_for_all(arena: Arena) -> None:
    """Submit the one that waits. It is not due before an hour has passed, so that it is not counted with the others."""
    app = Steeple(Settings(database_url=SecretStr(arena.database), broker_url=SecretStr(arena.broker)))
    app.task("noop")(bodies.noop)
    with arena.connect() as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM jobs").fetchall()]
    app.submit("noop", {"number": 0}, after=ids, delay=3600.0)
    app.close()


def _require_let_go(turn: Turn) -> None:
    with turn.arena.connect() as connection:
        found = connection.execute(_LET_GO).fetchone()
    if found is None or found[0] != 1:
        raise ContestantFailed("all its parents have ended, and the job that waits for them was not let go")


ROW = Row(
    name="flows",
    title="No-op jobs drained, with and without one that waits for all of them",
    contestants=["alone", "fan_in"],
    figures=[Figure("rate", "no-op jobs drained", "jobs/s")],
    measure=_measure,
    note=f"{_JOBS} jobs wait before a worker with two slots starts; the first tenth is warm-up.",
    first="alone",
    titles={"alone": "nobody waits for them", "fan_in": "one job waits for all"},
    reference="alone",
)

"""A thousand jobs per call: how many a second are accepted, by way of the API and straight from Python."""

from collections.abc import Mapping
from time import monotonic

from pydantic import SecretStr

from bench import bodies, parts
from bench.arena import Arena
from bench.load import WARM_UP_SECONDS, Loaded, Plan, post, send
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions, Figure, Row
from bench.rows.posting import require_stored
from steeple import Steeple
from steeple.settings import Settings

_JOBS = 1000
_CONNECTIONS = 4


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    arena = conditions.arena
    with arena.turn(entrant_named(STEEPLE), places=1) as turn:
        if name == "http":
            turn.start(parts.api(arena.port))
            parts.wait_for_server(arena.port)
            loaded = _over_http(arena.port, conditions.seconds)
        else:
            loaded = _from_python(arena, conditions.seconds)
        require_stored(arena, loaded, loaded.replies * _JOBS)
        return {"rate": loaded.rate * _JOBS}


def _over_http(port: int, seconds: float) -> Loaded:
    jobs = [{"task": "noop", "args": {"number": number}} for number in range(_JOBS)]
    return send(Plan(port, _CONNECTIONS, seconds, [post("/v1/jobs/batch", {"jobs": jobs})], 202))


def _from_python(arena: Arena, seconds: float) -> Loaded:
    """In this process, which has nothing else to do meanwhile."""
    app = Steeple(Settings(database_url=SecretStr(arena.database), broker_url=SecretStr(arena.broker)))
    app.task("noop")(bodies.noop)
    ids: list[str] = []
    milliseconds: list[float] = []
    mark = monotonic() + WARM_UP_SECONDS
    calls, now = 0, 0.0
    while now < mark + seconds:
        began = monotonic()
        handles = app.submit_batch("noop", [{"number": number} for number in range(_JOBS)])
        now = monotonic()
        calls += 1
        ids += [str(handle.id) for handle in handles]
        if mark < now <= mark + seconds:
            milliseconds.append(1000 * (now - began))
    app.close()
    return Loaded(milliseconds, len(milliseconds), seconds, calls, ids)


ROW = Row(
    name="batch",
    title="Jobs submitted, a thousand per call",
    contestants=["http", "python"],
    figures=[Figure("rate", "jobs accepted", "jobs/s")],
    measure=_measure,
    note=f"Durable when it is answered, and all were found there. Over HTTP {_CONNECTIONS} connections to one API"
    " process; from Python one thread. No worker runs.",
    first="http",
    titles={"http": "POST /v1/jobs/batch", "python": "submit_batch in Python"},
)

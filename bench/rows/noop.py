"""Jobs that do nothing: what is left is the cost of a job. The SQL alone, without tasks, is the limit."""

from collections.abc import Mapping

from bench import reference
from bench.drains import Load, drain
from bench.roster import ENTRANTS
from bench.row import Conditions, Figure, Row

_LOAD = Load("noop", "short")


def _measure(conditions: Conditions, name: str) -> Mapping[str, float]:
    if name == reference.NAME:
        return {"rate": reference.measure(conditions)}
    drained = drain(conditions, name, _LOAD, max(500, int(conditions.rates[name] * conditions.seconds)))
    conditions.rates[name] = drained.rate
    return {"rate": drained.rate}


ROW = Row(
    name="noop",
    title="No-op jobs drained",
    contestants=[reference.NAME, *(entrant.name for entrant in ENTRANTS)],
    figures=[Figure("rate", "no-op jobs drained", "jobs/s", is_log=True)],
    measure=_measure,
    note="Jobs wait before two worker processes start; the first tenth is warm-up; until every result is recorded.",
    titles={reference.NAME: reference.TITLE},
    reference=reference.NAME,
    quick=[reference.NAME, *(entrant.name for entrant in ENTRANTS if entrant.is_quick)],
)

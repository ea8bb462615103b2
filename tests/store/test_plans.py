"""How PostgreSQL goes about the exchange when it plans it once, knowing neither how many rows are wanted nor how many
there are: by indexes only, whatever the size of the table."""

import re

import pytest

from playground import Playground
from steeple.store import exchange_statement

_ROWS = 20_000
_FILL = """
INSERT INTO jobs (id, task, args, queue, priority, run_at, timeout, max_attempts, state, finished_at)
SELECT gen_random_uuid(), 't', '{}', 'q0', 1, now() - number * interval '1 ms', 60, 3,
       CAST(CASE WHEN number % 10 > 0 THEN 'PENDING' ELSE 'SUCCESS' END AS job_state),
       CASE WHEN number % 10 > 0 THEN NULL ELSE now() END
FROM generate_series(1, :rows) AS number
"""
_TYPES = {
    "finishes": "json",
    "now": "timestamptz",
    "marks": "text",
    "worker_id": "uuid",
    "slot": "smallint",
    "queues": "text[]",
    "priorities": "smallint[]",
    "tasks": "text[]",
    "starvation": "float8",
    "limit": "integer",
    "ahead": "boolean",
    "passed_queues": "text[]",
    "passed_priorities": "smallint[]",
}


@pytest.mark.parametrize("queues", ["NULL", "'{q0,q1}'"])
@pytest.mark.parametrize("marks", ["NULL", "'[]'"])
def test_a_plan_for_all_parameters_goes_by_indexes(playground: Playground, queues: str, marks: str) -> None:
    playground.sql(_FILL, rows=_ROWS)
    playground.sql("ANALYZE jobs")
    with playground.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = 'force_generic_plan'")
        connection.exec_driver_sql(f"PREPARE planned_once ({', '.join(_TYPES.values())}) AS {_numbered()}")
        worker = "'00000000-0000-0000-0000-000000000000'"
        given = f"'[]', NULL, {marks}, {worker}, 0, {queues}, '{{0,1,2}}', '{{t}}', 3600, 128, false, '{{}}', '{{}}'"
        plan = connection.exec_driver_sql(f"EXPLAIN EXECUTE planned_once ({given})").scalars().all()
        connection.exec_driver_sql("DEALLOCATE planned_once")
    scans = [line.strip() for line in plan if re.search(r"Scan .*on (jobs|attempts)", line)]
    assert scans
    assert [line for line in scans if "Seq Scan" in line] == []


def _numbered() -> str:
    """The statement with its parameters by number, as PREPARE wants them."""
    numbers = {name: f"${number}" for number, name in enumerate(_TYPES, 1)}
    return re.sub(r"(?<!:):([a-z_]+)", lambda found: numbers[found[1]], exchange_statement.EXCHANGE.text)

"""How PostgreSQL finds what is due among many schedules: one scan of an index, however many there are."""

import re

import pytest
from sqlalchemy import text

from playground import Playground
from steeple.store import fires

_FILL = """
INSERT INTO schedules (id, name, source, task, args, queue, priority, every, timezone, anchor, jitter, overlap,
                       catch_up, catch_up_window, next_time, next_due, paused)
SELECT gen_random_uuid(), CAST(number AS text), 'api', 't', '{}', 'default', 1, 60, 'UTC', now(), 0, 'skip', 'last', 60,
       due, due, number % 10 = 0
FROM generate_series(1, 10000) AS number
CROSS JOIN LATERAL (SELECT now() + (number - 50) * interval '1 min') AS moment (due)
"""
_FILL_JOBS = """
INSERT INTO jobs (id, task, args, queue, priority, run_at, timeout, max_attempts, state, finished_at, schedule_id)
SELECT gen_random_uuid(), 't', '{}', 'default', 1, now(), 60, 3,
       CAST(CASE WHEN number % 100 = 0 THEN 'PENDING' ELSE 'SUCCESS' END AS job_state),
       CASE WHEN number % 100 = 0 THEN NULL ELSE now() END, CASE WHEN number % 2 = 0 THEN gen_random_uuid() END
FROM generate_series(1, 20000) AS number
"""
_PARAMETERS: dict[str, object] = {"now": None, "limit": 500, "ids": []}


@pytest.mark.parametrize("statement", ["_OUTLOOK", "_TAKE_DUE", "_TAKE_WAITING", "_ACTIVE"])
def test_nothing_goes_through_all_schedules_or_jobs(playground: Playground, statement: str) -> None:
    playground.sql(_FILL)
    playground.sql(_FILL_JOBS)
    for table in ("schedules", "jobs", "fires"):
        playground.sql(f"ANALYZE {table}")
    explained = "EXPLAIN " + getattr(fires, statement).text
    with playground.engine.begin() as connection:
        given = {name: value for name, value in _PARAMETERS.items() if f":{name}" in explained}
        plan = connection.execute(text(explained), given).scalars().all()
    scans = [line.strip() for line in plan if re.search(r"Scan .*on (schedules|jobs)\b", line)]
    assert scans
    assert [line for line in scans if "Seq Scan" in line] == []
    if statement in {"_OUTLOOK", "_TAKE_DUE"}:
        due = [line for line in scans if "schedules_due" in line]
        assert len(due) == 1

"""The limit for Steeple's design: its own claim-and-finish statement, sent by ``pgbench`` from two connections.

No task runs, nothing is decoded, there is no Python and no Celery. The statement is the one that workers send, with the
same batches at their largest; only what it selects at the end is packed into one row, for pgbench to hand on.
"""

import os
import re
import subprocess
from pathlib import Path
from uuid import UUID

from bench.arena import Arena, ContestantFailed
from bench.roster import STEEPLE, entrant_named
from bench.row import Conditions
from steeple.store.exchange_statement import EXCHANGE

NAME = "sql"
TITLE = "SQL alone (pgbench)"

_BATCH = 128
_CLIENTS = 2
_WARM_UP = 0.1
_WORKER = UUID(int=1)
_JOBS_PER_SECOND = 25000
"""A guess, for how many jobs are needed."""

# A worker that lives: nobody else may claim.
_REGISTER = """
INSERT INTO workers (id, name, version, slots, queues, priorities, tasks)
VALUES (%s, 'pgbench', '', 2, NULL, '{0,1,2}', '{noop}')
"""

# In place of the last SELECT: the next finishes, and the size of what a worker would have read.
_PACKED = """
SELECT COALESCE(json_agg(json_build_object(
           'id', claimed.id, 'fence', claimed.fence, 'state', 'SUCCESS', 'result', '{"number":12345}',
           'began_ago', 0.001, 'ended_ago', 0.001
       ) ORDER BY claimed.id), '[]') AS finishes,
       sum(length(args)) AS read_bytes, (SELECT count(*) FROM finished) AS finished_count
FROM claimed
\\gset
"""
_HANDED_ON = "finishes"
_PARAMETERS = {
    ":now": "NULL",
    ":marks": "NULL",
    ":worker_id": f"'{_WORKER}'",
    ":slot": "0",
    ":queues": "NULL",
    ":priorities": "'{0,1,2}'",
    ":tasks": "'{noop,sleep,compute,wait}'",
    ":starvation": "3600",
    ":limit": str(_BATCH),
    ":ahead": "false",
    ":passed_queues": "'{}'",
    ":passed_priorities": "'{}'",
}


def measure(conditions: Conditions) -> float:
    """Jobs per second that are claimed and finished."""
    arena = conditions.arena
    jobs = int(_JOBS_PER_SECOND * conditions.seconds)
    with arena.turn(entrant_named(STEEPLE), places=1) as turn:
        turn.ask("enqueue", task="noop", first=0, count=jobs, seconds=[])
        with arena.connect() as connection:
            connection.execute(_REGISTER, [_WORKER])
        arena.settle()
        script = arena.folder / "exchange.sql"
        script.write_text(exchange_script())
        _run(arena, script, round(jobs * _WARM_UP))
        before = _finished(arena)
        seconds = _run(arena, script, round(jobs * (1 - 2 * _WARM_UP)))
        return (_finished(arena) - before) / seconds


def exchange_script() -> str:
    """The statement in the language of pgbench: a client's first round finishes nothing."""
    statement, _, _ = EXCHANGE.text.rpartition("\nSELECT ")
    for ours, theirs in _PARAMETERS.items():
        statement = re.sub(rf"(?<!:){ours}\b", theirs, statement)
    return statement.rstrip() + _PACKED


def _run(arena: Arena, script: Path, jobs: int) -> float:
    """Finish about so many jobs; how long it took, in seconds."""
    rounds = max(2, round(jobs / _BATCH / _CLIENTS))
    command = [str(arena.program("pgbench")), "--no-vacuum", "--protocol=prepared", f"--file={script}"]
    command += [f"--client={_CLIENTS}", f"--jobs={_CLIENTS}", f"--transactions={rounds}"]
    command += [f"--define={_HANDED_ON}=[]", arena.database]
    ran = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    rate = re.search(r"tps = ([\d.]+) \(without initial connection time\)", ran.stdout)
    if ran.returncode or rate is None:
        raise ContestantFailed(f"pgbench: {(ran.stderr or ran.stdout)[-500:]}")
    return rounds * _CLIENTS / float(rate[1])


def _finished(arena: Arena) -> int:
    with arena.connect() as connection:
        row = connection.execute("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'").fetchone()
    assert row is not None
    return int(row[0])

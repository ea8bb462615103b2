"""What counts as a statement in the server's log."""

from bench.statements import statements_in

_LOG = b"""\
2026-11-25 01:00:00.000 UTC [71] LOG:  statement: BEGIN
2026-11-25 01:00:00.001 UTC [71] LOG:  execute _pg3_0: SELECT id
\tFROM jobs
\tWHERE note = 'LOG:  statement: '
2026-11-25 01:00:00.001 UTC [71] DETAIL:  Parameters: $1 = 'LOG:  execute x: '
2026-11-25 01:00:00.002 UTC [72] LOG:  execute <unnamed>: COMMIT
2026-11-25 01:00:00.003 UTC [70] LOG:  checkpoint starting: time
"""


def test_each_statement_counts_once_and_nothing_else_does() -> None:
    assert statements_in(_LOG) == 3

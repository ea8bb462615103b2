"""PostgreSQL's processes, as one beside the actors sees and ends them."""

import os
import signal
from collections.abc import Collection

import durability
from control import Control

from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.processes import wait_until

_PATIENCE_SECONDS = 60.0

_BLOCKERS = "SELECT pid, pg_blocking_pids(pid) FROM unnest(CAST(%s AS integer[])) AS pid"
_END_BACKEND = "SELECT pg_terminate_backend(%s)"
_IS_GONE = "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %s)"
_OTHERS = """
SELECT pid FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


class Backends:
    """Of the simulated database."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def blockers(self, pids: Collection[int]) -> dict[int, set[int]]:
        """For each: those that it waits for."""
        return {pid: set(found) for pid, found in self._control.execute(_BLOCKERS, [list(pids)])}

    def end(self, pid: int) -> None:
        """And wait until it is gone."""
        self._control.execute(_END_BACKEND, [pid])
        assert wait_until(lambda: bool(self._control.execute(_IS_GONE, [pid]).fetchall()[0][0]), _PATIENCE_SECONDS)

    def crash(self) -> int:
        """As if the server had been killed, though only its backends are; returns how many changes were lost."""
        for (pid,) in self._control.execute(_OTHERS).fetchall():
            self.end(pid)
        return durability.lose(self._control)

    def restart(self, server: EmbeddedPostgres) -> None:
        """Kill the server as by ``pg_ctl stop -m immediate``, and start it again."""
        os.kill(server.pid, signal.SIGQUIT)
        assert wait_until(lambda: server.exit_status() is not None, _PATIENCE_SECONDS), "PostgreSQL does not end"
        server.start()
        self._control.connect_anew()
        durability.forget(self._control)

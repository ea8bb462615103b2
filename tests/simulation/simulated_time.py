"""Time as the simulation wants it: the database's ``now()`` and the product's monotonic clock, moved by hand.

In the simulated database ``now()``, ``clock_timestamp()`` and the transactions' beginnings in ``pg_stat_activity`` are
found in a schema that comes before PostgreSQL's own: so every statement of the product keeps to the simulated time as
it is, whether it takes a ``now`` or not.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock
from uuid import UUID

from control import Control

import steeple.scheduler.rescue
import steeple.scheduler.wake_due
import steeple.store.engine
import steeple.worker.attempt
import steeple.worker.batch
import steeple.worker.clerk
import steeple.worker.drain
import steeple.worker.ledger
import steeple.worker.lifelines
import steeple.worker.settling
import steeple.worker.stopping
import steeple.worker.strangers
from playground import NOW
from steeple.store.engine import briefly

_INSTALL = """
CREATE SCHEMA simulated;
CREATE TABLE simulated.moments (real_at timestamptz NOT NULL, now timestamptz NOT NULL);

CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
    'SELECT now FROM public.recorded_clock';

CREATE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    begun text := current_setting('simulated.now', true);
BEGIN
    IF begun IS NULL OR begun = '' THEN
        begun := set_config('simulated.now', CAST(simulated.clock_timestamp() AS text), true);
    END IF;
    RETURN CAST(begun AS timestamptz);
END
$$;

CREATE VIEW simulated.pg_stat_activity AS
SELECT pid, datname, backend_type,
       (SELECT moments.now FROM simulated.moments WHERE real_at <= xact_start ORDER BY real_at DESC LIMIT 1)
       AS xact_start
FROM pg_catalog.pg_stat_activity;

ALTER TABLE workers ALTER started_at SET DEFAULT simulated.now(), ALTER heartbeat_at SET DEFAULT simulated.now();
ALTER TABLE jobs ALTER created_at SET DEFAULT simulated.now();
"""

_IN_FRONT = "ALTER DATABASE {} SET search_path = simulated, pg_catalog, public"
_HASTE = "ALTER DATABASE {} SET deadlock_timeout = '20ms'"

_SET = """
WITH moment AS (INSERT INTO simulated.moments VALUES (pg_catalog.clock_timestamp(), %(now)s)),
     gone AS (DELETE FROM recorded_clock)
INSERT INTO recorded_clock VALUES (%(now)s)
"""

_MONOTONIC = (
    steeple.scheduler.rescue,
    steeple.scheduler.wake_due,
    steeple.worker.attempt,
    steeple.worker.batch,
    steeple.worker.clerk,
    steeple.worker.drain,
    steeple.worker.ledger,
    steeple.worker.lifelines,
    steeple.worker.settling,
    steeple.worker.strangers,
    steeple.worker.stopping,
)
"""The modules that look at the monotonic clock."""


def install(control: Control) -> None:
    """Make the database one whose time stands still. Takes effect for those who connect from now on."""
    control.execute(_INSTALL)
    name = control.connection.info.dbname
    control.execute(_IN_FRONT.format(name))
    control.execute(_HASTE.format(name))
    control.connect_anew()


_FIRST_REBORN = 0xAE00 << 20
"""The id of the first worker that was taken for dead and begins anew."""


class Clock:
    """Moves when it is told, never back."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self.seconds = 0.0
        self._control.execute("DELETE FROM simulated.moments")
        self.advance(0.0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self._control.execute(_SET, {"now": NOW + timedelta(seconds=self.seconds)})

    def read(self) -> float:
        """Seconds, as ``time.monotonic`` gives them."""
        return self.seconds + 1000.0

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """For the length of the block, the product reads this clock; it neither sleeps nor hurries, ends no
        process, and makes the same ids each time."""
        patches: list[Any] = [mock.patch.object(module, "monotonic", self.read) for module in _MONOTONIC]
        patches.append(mock.patch.object(steeple.store.engine, "moment", return_value=0.0))
        patches.append(mock.patch.object(steeple.worker.ledger, "_FIRST_PAUSE", 0.0))
        patient = partial(briefly, lock_timeout=60.0)
        patches.append(mock.patch.object(steeple.worker.settling, "briefly", patient))
        patches.append(mock.patch.object(steeple.worker.clerk, "briefly", patient))
        reborn = (UUID(int=number) for number in itertools.count(_FIRST_REBORN))
        patches.append(mock.patch.object(steeple.worker.clerk, "new_id", reborn.__next__))
        patches.append(mock.patch.object(steeple.worker.stopping, "send"))
        patches.append(mock.patch.object(steeple.worker.drain, "end_leftovers"))
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()

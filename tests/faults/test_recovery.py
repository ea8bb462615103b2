"""How long until jobs run again, with the settings that parts have when nobody sets any. Measured, and printed at the
end of the run under "facts"; what is asserted leaves a busy machine twice the time that is promised."""

import os
import signal
import statistics
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from fault_tasks import read_effects
from fleet import Fleet, Shape, servers_in
from history import Effect
from recorder import Recorder
from stage import Stage

from steeple.embedded.processes import wait_until

PATIENCE = 60.0
TIMES = 3
AWAY = 10.0
"""Seconds; long enough for pauses between attempts to be at their longest."""

Report = Callable[[str, object], None]

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("recovery")
    with servers_in(folder) as servers:
        Recorder(servers.postgres.url()).install()
        fleet = Fleet(folder, servers, Shape(workers=2, slots=2), quick=False)
        fleet.start()
        yield fleet
        fleet.close()


@pytest.fixture
def usual(fleet: Fleet, tmp_path: Path) -> Stage:
    fleet.heal()
    return Stage(fleet, fleet.servers, Recorder(fleet.servers.postgres.url()), tmp_path / "effects")


def test_slot_crashes(usual: Stage, record_property: Report) -> None:
    def crash() -> float:
        job_id = usual.held()
        os.kill(usual.slot_of(job_id), signal.SIGKILL)
        return _begins_again(usual, job_id)

    _measure(usual, record_property, "a slot crashes, its job runs again", crash, promised=2.0)


def test_worker_crashes(usual: Stage, record_property: Report) -> None:
    def crash() -> float:
        job_id = usual.held()
        usual.worker_of(job_id).kill()
        took = _begins_again(usual, job_id)
        usual.fleet.start()
        return took

    _measure(usual, record_property, "a worker crashes, its job runs again", crash, promised=30.0)


@pytest.mark.parametrize("name", ["PostgreSQL", "Redis"])
def test_server_is_back(usual: Stage, record_property: Report, name: str) -> None:
    server = usual.servers.postgres if name == "PostgreSQL" else usual.servers.valkey

    def come_back() -> float:
        os.kill(server.pid, signal.SIGQUIT if name == "PostgreSQL" else signal.SIGKILL)
        assert wait_until(lambda: server.exit_status() is not None, PATIENCE)
        usual.sleep(AWAY)
        server.start()
        return _flows(usual)

    _measure(usual, record_property, f"{name} is back, jobs run", come_back, promised=5.0)


@pytest.mark.parametrize("name", ["PostgreSQL", "Redis"])
def test_line_is_back(usual: Stage, record_property: Report, name: str) -> None:
    line = usual.servers.database_line if name == "PostgreSQL" else usual.servers.broker_line

    def come_back() -> float:
        with line.stalled():
            usual.sleep(AWAY)
        return _flows(usual)

    _measure(usual, record_property, f"the line to {name} is back, jobs run", come_back, promised=5.0)


def _measure(usual: Stage, report: Report, what: str, recover: Callable[[], float], *, promised: float) -> None:
    took = [recover() for _ in range(TIMES)]
    report(
        f"recovery: {what}",
        f"{statistics.median(took):.2f} s ({min(took):.2f} to {max(took):.2f}); promised {promised:g} s",
    )
    assert max(took) < 2 * promised


def _begins_again(usual: Stage, job_id: UUID) -> float:
    """Seconds from now until its second run begins."""
    since = datetime.now(UTC)
    assert wait_until(lambda: len(usual.runs(job_id)) > 1, PATIENCE), usual.fleet.said
    usual.let_go()
    return (usual.runs(job_id)[1].began_at - since).total_seconds()


def _flows(usual: Stage) -> float:
    """Seconds from now until a job runs that a client submits, as often as it takes to be accepted."""
    since = datetime.now(UTC)
    assert wait_until(lambda: usual.submit_anyhow("fault.work") == 202, PATIENCE), usual.fleet.said
    assert wait_until(lambda: bool(_begun(usual, since)), PATIENCE), usual.fleet.said
    return (_begun(usual, since)[0].began_at - since).total_seconds()


def _begun(usual: Stage, since: datetime) -> list[Effect]:
    return [run for run in read_effects(usual.effects) if run.began_at > since]

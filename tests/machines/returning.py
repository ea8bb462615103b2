"""Whether every part works again after its cables are in: it is not enough that some other does its work."""

from datetime import UTC, datetime

from crowd import Crowd
from distant import DistantFleet, DistantServers
from fault_tasks import read_effects
from fleet import PATIENCE
from stage import Stage

from steeple.embedded.processes import wait_until


class Return:
    """Begins when all is whole again; ``seconds`` is how long each took, once ``wait`` has returned."""

    def __init__(self, stage: Stage, fleet: DistantFleet, servers: DistantServers, crowd: Crowd) -> None:
        self._stage = stage
        self._fleet = fleet
        self._servers = servers
        self._crowd = crowd
        self._accepted = crowd.accepted
        self._since = datetime.now(UTC)
        self.seconds: dict[str, float] = {}

    def wait(self) -> float:
        """Until all parts work; the seconds that the last one took."""
        assert wait_until(self._all_work, PATIENCE), (self.seconds, self._fleet.said)
        return max(self.seconds.values())

    def _all_work(self) -> bool:
        for host, works in {
            "api": self._api_accepts(),
            "scheduler": self._servers.has_heard_from("scheduler", self._since),
            "worker-1": self._worker_runs("worker-1"),
            "worker-2": self._worker_runs("worker-2"),
        }.items():
            if works:
                self.seconds.setdefault(host, (datetime.now(UTC) - self._since).total_seconds())
        return len(self.seconds) == 4

    def _api_accepts(self) -> bool:
        return self._crowd.accepted > self._accepted

    def _worker_runs(self, host: str) -> bool:
        slots = self._fleet.on(host).children()
        return any(run.pid in slots and run.began_at > self._since for run in read_effects(self._stage.effects))

"""Who in a world is free to begin something, or to be interfered with."""

from actors import Actor, Doing
from crew import SimulatedSlot, SimulatedWorker
from intake import SimulatedApi
from people import SimulatedClient, SimulatedScheduler
from world import World


class Free:
    """Always in the same order."""

    def __init__(self, world: World) -> None:
        self._world = world

    def clients(self) -> list[SimulatedClient]:
        return [each for each in self._world.clients if each.actor.doing is Doing.NOTHING]

    def apis(self) -> list[SimulatedApi]:
        return [each for each in self._world.apis if each.actor.doing is Doing.NOTHING]

    def schedulers(self) -> list[SimulatedScheduler]:
        return [each for each in self._world.schedulers if each.actor.doing is Doing.NOTHING]

    def clerks(self) -> list[SimulatedWorker]:
        return [each for each in self._world.present() if each.clerk.doing is Doing.NOTHING]

    def slots(self) -> list[SimulatedSlot]:
        return [each for each in self._world.slots() if each.main.doing is Doing.NOTHING]

    def at_work(self) -> list[Actor]:
        """Those who have stopped and of whose connections one can be lost by itself."""
        mine = [slot.main for slot in self._world.slots()]
        mine += [worker.clerk for worker in self._world.present()]
        mine += [scheduler.actor for scheduler in self._world.schedulers]
        mine += [client.actor for client in self._world.clients]
        return [actor for actor in mine if actor.doing is Doing.STOPPED]

    def attendable(self) -> list[SimulatedSlot]:
        """Those at work whose attendant is idle."""
        return [
            each
            for each in self._world.slots()
            if each.second.doing is Doing.NOTHING and each.main.doing is not Doing.NOTHING
        ]

    def unsettled(self) -> list[SimulatedSlot]:
        return [each for each in self._world.dead_slots() if each.worker.clerk.doing is Doing.NOTHING]

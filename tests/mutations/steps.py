"""What plans are made of: one does something, up to where the plan says so."""

from functools import partial

from actors import Actor, Doing
from crew import SimulatedSlot, SimulatedWorker
from people import DEAD_AFTER, Wish
from world import LANE, World

Job = int
"""The number of a job: the first is 1."""


def submit(world: World, wish: Wish, client: int = 0) -> None:
    world.submit(world.clients[client], wish)
    world.finish(world.clients[client].actor)


def until(world: World, actor: Actor, at: str) -> None:
    """Let an actor move until it has stopped where it says so."""
    while not (actor.doing is Doing.STOPPED and actor.at.startswith(at)):
        assert actor.doing is not Doing.NOTHING, f"{actor.name} never came to {at!r}"
        world.conductor.step(actor)


def start_running(world: World, slot: SimulatedSlot) -> None:
    """A slot claims, and its task runs."""
    world.deliver(slot, LANE)
    until(world, slot.main, "runs")


def tick(world: World, *ticks: str, scheduler: int = 0) -> None:
    who = world.schedulers[scheduler]
    for each in ticks:
        world.do(who.actor, each, partial(who.tick, each))


def beat(world: World, worker: SimulatedWorker) -> None:
    world.oversee(worker, "beats", worker.beat)
    world.finish(worker.clerk)


def cancel(world: World, job: Job) -> None:
    client = world.clients[0]
    world.do(client.actor, f"cancel job {job}", partial(client.cancel, world.jobs[job - 1]))


def retry(world: World, job: Job) -> None:
    api = world.apis[0]
    world.do(api.actor, f"retry job {job}", partial(api.retry, world.jobs[job - 1]))


def work(world: World, slot: SimulatedSlot) -> None:
    """A slot drains what is there."""
    world.deliver(slot, LANE)
    world.finish(slot.main)


def slots(world: World) -> tuple[SimulatedSlot, SimulatedSlot]:
    """One of each worker."""
    return world.workers[0].slots[0], world.workers[1].slots[0]


def take_for_dead(world: World, worker: SimulatedWorker) -> None:
    """A worker is silent for too long; all others beat."""
    world.advance(DEAD_AFTER + 1)
    for other in world.workers:
        if other is not worker:
            beat(world, other)
    tick(world, "bury", "rescue")


def start_running_if_any(world: World, slot: SimulatedSlot) -> None:
    """A wake-up that may find nothing."""
    world.deliver(slot, LANE)
    while slot.main.doing is Doing.STOPPED and not slot.main.at.startswith("runs"):
        world.conductor.step(slot.main)


def claim_beside_a_lock(world: World) -> list[str]:
    """Two slots claim while a cancellation of the one job is under way; tells who is held up."""
    client = world.clients[0]
    submit(world, Wish("S"))
    world.conductor.begin(client.actor, "cancel job 1", partial(client.cancel, world.jobs[0]))
    until(world, client.actor, "after transitions._CANCEL")
    for slot in slots(world):
        start_running_if_any(world, slot)
    return [actor.name for actor in world.conductor.moving()]

"""How every simulated world ends: nothing is broken any more, and what can run does, until no job is left."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from control import Control
from crew import SimulatedWorker
from recorder import Recorder
from shed import Shed
from world import World

HEALS = "all heals"
_ROUNDS = 60

_ACTIVE = "SELECT count(*) FROM jobs WHERE state IN ('PENDING', 'RUNNING')"
_NEXT_IN = """
SELECT CAST(COALESCE(EXTRACT(epoch FROM min(run_at) - (SELECT now FROM recorded_clock)), 0) AS float8)
FROM jobs WHERE state = 'PENDING' AND held_by IS NULL
"""


@contextmanager
def world(shed: Shed, control: Control, recorder: Recorder) -> Iterator[World]:
    """A world for the length of the block."""
    logging.disable()  # the schedule says it all, and in order
    try:
        found = World(shed, control, recorder)
        with found.clock.in_place(), closing(found):
            yield found
    finally:
        logging.disable(logging.NOTSET)


def heal(world: World) -> None:
    """Nobody stops any more; workers and a scheduler do what they do, round after round."""
    world.conductor.note(None, HEALS)
    world.run_all()
    while world.conductor.under_way:
        world.past.land()
        world.run_all()
    world.conductor.is_over = True
    for _ in range(_ROUNDS):
        _round(world)
        if not world.ask(_ACTIVE):
            break
        world.advance(max(1.0, world.ask(_NEXT_IN)))
    world.journal.healed()


def _round(world: World) -> None:
    for worker in world.present():
        _look_after(world, worker)
    if not world.slots():
        world.hire(1)
    scheduler = world.schedulers[0]
    for tick in ("bury", "rescue", "expire", "confirm", "roll_up", "wake_due"):
        world.do(scheduler.actor, tick, partial(scheduler.tick, tick))
    while world.post.waiting:
        lane = world.post.waiting.pop(0)
        for slot in world.slots()[:1]:
            world.deliver(slot, lane)
            world.finish(slot.main)


def _look_after(world: World, worker: SimulatedWorker) -> None:
    """What a clerk does, and Celery with its pool; a worker that was told to stop leaves."""
    for what, step in (("beats", worker.beat), ("watches", worker.watch), ("audits", worker.audit)):
        world.oversee(worker, what, step)
        world.finish(worker.clerk)
    for slot in [slot for slot in worker.slots if not slot.is_alive]:
        world.settle(slot)
        world.finish(worker.clerk)
    if worker.board.is_draining:
        world.oversee(worker, "leaves", worker.leave)
        world.finish(worker.clerk)
        return
    for index in range(worker.row.slots):
        if not any(slot.index == index for slot in worker.slots):
            worker.fill_place(index)

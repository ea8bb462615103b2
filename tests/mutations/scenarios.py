"""Plans, step by step, that end well with the product as it is, and badly with one fault or another in it."""

from collections.abc import Callable, Mapping
from functools import partial

from actors import Actor, Doing
from crew import SimulatedSlot, SimulatedWorker
from people import DEAD_AFTER, RETENTION, Wish
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
    world.finish(worker.warden)


def cancel(world: World, job: Job) -> None:
    client = world.clients[0]
    world.do(client.actor, f"cancel job {job}", partial(client.cancel, world.jobs[job - 1]))


def retry(world: World, job: Job) -> None:
    client = world.clients[0]
    world.do(client.actor, f"retry job {job}", partial(client.retry, world.jobs[job - 1]))


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


def a_late_finish(world: World) -> None:
    """A worker is taken for dead while its task runs; another runs the job, and the first finishes before it."""
    first, second = slots(world)
    submit(world, Wish("S"))
    start_running(world, first)
    take_for_dead(world, first.worker)
    start_running(world, second)
    world.finish(first.main)
    world.finish(second.main)


def a_revived_worker(world: World) -> None:
    """A worker is taken for dead, and beats again."""
    first, second = slots(world)
    submit(world, Wish("S"))
    start_running(world, first)
    take_for_dead(world, first.worker)
    beat(world, first.worker)
    start_running(world, second)


def an_explicit_retry(world: World) -> None:
    first, second = slots(world)
    submit(world, Wish("S"))
    work(world, first)
    retry(world, 1)
    work(world, second)


def a_retry_of_a_running_job(world: World) -> None:
    first, second = slots(world)
    submit(world, Wish("S"))
    start_running(world, first)
    retry(world, 1)
    start_running_if_any(world, second)
    world.run_all()


def a_retry_whose_reply_is_lost(world: World) -> None:
    """The job runs to its end before the request is repeated."""
    first, _ = slots(world)
    submit(world, Wish("S"))
    work(world, first)
    client = world.clients[0]
    world.conductor.begin(client.actor, "retry job 1", partial(client.retry, world.jobs[0]))
    until(world, client.actor, "after COMMIT")
    work(world, first)
    world.cut(client.actor)


def a_release(world: World) -> None:
    """What waits behind a long task goes back, and is run elsewhere."""
    first, second = slots(world)
    for _ in range(4):
        submit(world, Wish("S"))
    start_running(world, first)
    world.conductor.step(first.main)
    until(world, first.main, "runs")
    world.advance(1.0)
    world.do(first.second, "attends", first.attend)
    work(world, second)
    world.finish(first.main)


def a_late_rescue(world: World) -> None:
    """Two schedulers see the same orphan; one is late, and by then the job runs elsewhere."""
    first, second = slots(world)
    submit(world, Wish("S"))
    start_running(world, first)
    world.kill_worker(first.worker)
    world.advance(DEAD_AFTER + 1)
    beat(world, second.worker)
    tick(world, "bury")
    late = world.schedulers[1]
    world.conductor.begin(late.actor, "rescue", partial(late.tick, "rescue"))
    until(world, late.actor, "after workers._ORPHANS")
    tick(world, "rescue")
    start_running(world, second)
    world.finish(late.actor)
    third = world.hire(1).slots[0]
    start_running_if_any(world, third)
    world.run_all()


def a_rescue_while_it_runs(world: World) -> None:
    """There is nobody to rescue it from."""
    first, second = slots(world)
    submit(world, Wish("S"))
    start_running(world, first)
    tick(world, "rescue")
    start_running_if_any(world, second)
    world.run_all()


def start_running_if_any(world: World, slot: SimulatedSlot) -> None:
    """A wake-up that may find nothing."""
    world.deliver(slot, LANE)
    while slot.main.doing is Doing.STOPPED and not slot.main.at.startswith("runs"):
        world.conductor.step(slot.main)


def two_claims_beside_a_lock(world: World) -> None:
    """A cancellation of the first job is under way when two slots claim: they do not wait for it."""
    held_up = _claim_beside_a_lock(world)
    assert not held_up, f"{', '.join(held_up)} is held up by another's lock when it claims"


def two_claims_of_one_job(world: World) -> None:
    """The same, and the cancellation is undone."""
    _claim_beside_a_lock(world)
    world.cut(world.clients[0].actor)
    world.conductor.settle()


def _claim_beside_a_lock(world: World) -> list[str]:
    """Who is held up."""
    client = world.clients[0]
    submit(world, Wish("S"))
    world.conductor.begin(client.actor, "cancel job 1", partial(client.cancel, world.jobs[0]))
    until(world, client.actor, "after transitions._CANCEL")
    for slot in slots(world):
        start_running_if_any(world, slot)
    return [actor.name for actor in world.conductor.moving()]


def a_scheduled_job(world: World) -> None:
    """It is due in five minutes; a slot is woken before, for others, of which it claims some at once."""
    submit(world, Wish("S", delay=300.0))
    submit(world, Wish("S"))
    submit(world, Wish("S"))
    work(world, slots(world)[0])


def an_expired_job(world: World) -> None:
    first, _ = slots(world)
    submit(world, Wish("S", expires_in=2.0))
    world.advance(3.0)
    work(world, first)


def an_expiry_while_it_runs(world: World) -> None:
    first, _ = slots(world)
    submit(world, Wish("S", expires_in=2.0))
    start_running(world, first)
    world.advance(3.0)
    tick(world, "expire")
    world.finish(first.main)


def a_cancellation_while_it_runs(world: World) -> None:
    """It fails just then, and has attempts left."""
    first, _ = slots(world)
    submit(world, Wish("FS"))
    start_running(world, first)
    cancel(world, 1)
    world.finish(first.main)


def a_cancellation_and_a_retry(world: World) -> None:
    """Cancelled while it runs, retried as soon as it has ended."""
    first, second = slots(world)
    submit(world, Wish("S"))
    start_running(world, first)
    cancel(world, 1)
    retry(world, 1)
    start_running_if_any(world, second)
    world.run_all()


def the_same_key_twice(world: World) -> None:
    """Once more for another request."""
    submit(world, Wish("S", key=1))
    submit(world, Wish("S", key=1), client=1)
    submit(world, Wish("FS", key=1), client=1)


def three_crashes(world: World) -> None:
    submit(world, Wish("CCCCS", max_attempts=9))


def pruning(world: World) -> None:
    """One job ended long ago, one waits yet."""
    first, _ = slots(world)
    submit(world, Wish("S"))
    work(world, first)
    submit(world, Wish("S", delay=3600.0))
    world.advance(RETENTION + 60)
    tick(world, "roll_up", "prune")


def a_claim_whose_reply_is_lost(world: World) -> None:
    first, _ = slots(world)
    submit(world, Wish("S"))
    world.deliver(first, LANE)
    until(world, first.main, "after exchange._EXCHANGE")
    world.cut(first.main)
    world.finish(first.main)


def a_busy_day(world: World) -> None:
    """A bit of everything."""
    for wish in (Wish("FS"), Wish("CS"), Wish("S", unique=1), Wish("R"), Wish("IS")):
        submit(world, wish)
    first, second = slots(world)
    start_running(world, first)
    start_running(world, second)
    world.run_all()


SCENARIOS: Mapping[str, Callable[[World], None]] = {
    each.__name__.replace("_", " "): each
    for each in (
        a_late_finish,
        a_revived_worker,
        an_explicit_retry,
        a_retry_of_a_running_job,
        a_retry_whose_reply_is_lost,
        a_release,
        a_late_rescue,
        a_rescue_while_it_runs,
        two_claims_beside_a_lock,
        two_claims_of_one_job,
        a_scheduled_job,
        an_expired_job,
        an_expiry_while_it_runs,
        a_cancellation_while_it_runs,
        a_cancellation_and_a_retry,
        the_same_key_twice,
        three_crashes,
        pruning,
        a_claim_whose_reply_is_lost,
        a_busy_day,
    )
}

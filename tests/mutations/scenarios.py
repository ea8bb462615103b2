"""Plans, step by step, that end well with the product as it is, and badly with one fault or another in it."""

from collections.abc import Callable, Mapping
from functools import partial

from families import a_child_of_a_failure, a_child_of_two, a_crash_before_the_confirmation
from people import DEAD_AFTER, RETENTION, Wish
from steps import (
    beat,
    cancel,
    claim_beside_a_lock,
    retry,
    slots,
    start_running,
    start_running_if_any,
    submit,
    take_for_dead,
    tick,
    until,
    work,
)
from world import LANE, World

from steeple.store.transitions import Edit


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
    api = world.apis[0]
    world.conductor.begin(api.actor, "retry job 1", partial(api.retry, world.jobs[0]))
    until(world, api.actor, "after COMMIT")
    work(world, first)
    world.cut(api.actor)


def a_release(world: World) -> None:
    """What waits behind a long task goes back, and is run elsewhere."""
    first, second = slots(world)
    for _ in range(4):
        submit(world, Wish("S"))
    start_running(world, first)
    world.conductor.step(first.main)
    until(world, first.main, "runs")
    world.advance(1.5)
    world.do(first.second, "attends", first.attend)
    work(world, second)
    world.finish(first.main)


def a_batch_that_nobody_looks_after(world: World) -> None:
    """What waits behind a long task goes back when that ends, at the latest."""
    first, _ = slots(world)
    for _ in range(4):
        submit(world, Wish("S"))
    start_running(world, first)
    world.conductor.step(first.main)
    until(world, first.main, "runs")
    world.advance(1.5)
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


def two_claims_beside_a_lock(world: World) -> None:
    """A cancellation of the first job is under way when two slots claim: they do not wait for it."""
    held_up = claim_beside_a_lock(world)
    assert not held_up, f"{', '.join(held_up)} is held up by another's lock when it claims"


def two_claims_of_one_job(world: World) -> None:
    """The same, and the cancellation is undone."""
    claim_beside_a_lock(world)
    world.cut(world.clients[0].actor)
    world.conductor.settle()


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
    until(world, first.main, "after exchange_statement.EXCHANGE")
    world.cut(first.main)
    world.finish(first.main)


def a_claim_that_lands_late(world: World) -> None:
    """The server is slow: the slot has lost its connection, looked what it holds, and gone idle, before it claims."""
    first, _ = slots(world)
    submit(world, Wish("S", delay=1.0))
    world.lose_sight(first.main)
    work(world, first)
    world.advance(2.0)
    world.past.land()
    world.finish(world.past.actor)


def a_crash_of_the_server(world: World) -> None:
    """While a task runs: its claim is not forgotten, nor its fence given to another."""
    first, second = slots(world)
    submit(world, Wish("S"))
    start_running(world, first)
    world.crash_server()
    start_running_if_any(world, second)
    world.run_all()


def requests_that_come_together(world: World) -> None:
    """One wants a key that is taken, one a key of its own; two want the same unique key; and once more, all anew."""
    submit(world, Wish("S", key=1, unique=1))
    for wishes in ([Wish("S", key=2), Wish("FS")], [Wish("S", key=1, unique=1), Wish("S", unique=2), Wish(unique=2)]):
        world.submit_together(world.apis[0], wishes)
        world.finish(world.apis[0].actor)


def a_retry_of_what_was_put_off(world: World) -> None:
    submit(world, Wish("S", delay=300.0))
    cancel(world, 1)
    retry(world, 1)


def a_refused_retry_whose_reply_is_lost(world: World) -> None:
    """The job waits when it is asked for, and has run when it is asked for again."""
    first, _ = slots(world)
    submit(world, Wish("S"))
    api = world.apis[0]
    world.conductor.begin(api.actor, "retry job 1", partial(api.retry, world.jobs[0]))
    until(world, api.actor, "after SAVEPOINT")
    world.cut(api.actor)
    work(world, first)
    world.finish(api.actor)


def an_edit_of_a_running_job(world: World) -> None:
    first, _ = slots(world)
    submit(world, Wish("S"))
    start_running(world, first)
    client = world.clients[0]
    world.do(client.actor, "edit job 1", partial(client.edit, world.jobs[0], Edit(max_attempts=9)))


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
        a_batch_that_nobody_looks_after,
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
        a_claim_that_lands_late,
        a_crash_of_the_server,
        requests_that_come_together,
        a_retry_of_what_was_put_off,
        a_refused_retry_whose_reply_is_lost,
        an_edit_of_a_running_job,
        a_child_of_two,
        a_child_of_a_failure,
        a_crash_before_the_confirmation,
        a_busy_day,
    )
}

"""Plans with jobs that wait for others."""

from people import Wish
from steps import slots, start_running, start_running_if_any, submit, until, work
from world import World


def a_child_of_two(world: World) -> None:
    """It is not run between its parents' ends, though a slot looks for work then."""
    first, second = slots(world)
    submit(world, Wish("S"))
    submit(world, Wish("S"))
    submit(world, Wish("S", after=(1, 2)))
    start_running(world, first)
    start_running_if_any(world, second)
    world.run_all()


def a_child_of_a_failure(world: World) -> None:
    first, _ = slots(world)
    submit(world, Wish("R"))
    submit(world, Wish("S", after=(1,)))
    submit(world, Wish("S", after=(1,), runs_anyway=True))
    work(world, first)
    work(world, first)


def a_crash_before_the_confirmation(world: World) -> None:
    """The job is stored, and its submitter learns nothing."""
    first, _ = slots(world)
    submit(world, Wish("S"))
    api = world.apis[0]
    world.submit_together(api, [Wish("S", after=(1,))])
    until(world, api.actor, "after COMMIT")
    world.kill_api(api)
    work(world, first)

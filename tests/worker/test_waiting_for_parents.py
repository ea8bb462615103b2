"""A slot and jobs that wait for others: it goes on with what it has let go, and shows a child its parents' results."""

from time import monotonic

import pytest
from workbench import Bench

from steeple import Context, Priority, Reject, Retry, Settings, State
from steeple.domain.priority import Lane


def test_a_chain_is_run_in_one_go(bench: Bench) -> None:
    """Without a wake-up from anybody: the slot looks again when it has let others go."""
    flow = bench.app.flow()
    steps = [flow.add("note", {"value": number}) for number in range(20)]
    flow.chain(*steps)
    handle = flow.submit()
    slot = bench.slot
    began = monotonic()
    slot.work()
    assert bench.ran == list(range(20))
    assert handle.state() is State.SUCCESS
    assert monotonic() - began < 5


def test_the_lane_of_what_was_let_go_is_told_when_the_slice_is_over(settings: Settings) -> None:
    bench = Bench(settings.model_copy(update={"drain_slice": 0.001, "max_claim": 1}))
    flow = bench.app.flow()
    flow.chain(flow.add("note", {"value": 1}), flow.add("note", {"value": 2}))
    flow.submit()
    left = None
    while not bench.ran:
        left = bench.slot._drain.run()
    assert bench.ran == [1]
    assert left == Lane("default", Priority.DEFAULT)


def test_a_child_sees_what_became_of_its_parents(bench: Bench) -> None:
    @bench.app.task("gather")
    def gather(context: Context) -> dict[str, object]:
        return {
            str(job_id): [parent.state, parent.result, parent.error and parent.error["reason"]]
            for job_id, parent in context.parents.items()
        }

    @bench.app.task("fail", retry=Retry(max_attempts=1))
    def fail() -> None:
        raise Reject("no")

    good, bad = bench.app.submit("note", {"value": 7}), bench.app.submit("fail")
    child = bench.app.submit("gather", after=[good, bad], on_parent_failure="run")
    alone = bench.app.submit("gather")
    bench.slot.work()
    assert child.result(timeout=5) == {str(good.id): ["SUCCESS", 7, None], str(bad.id): ["FAILED", None, "rejected"]}
    assert alone.result(timeout=5) == {}


@pytest.mark.parametrize("count", [600, 1000])
def test_a_child_sees_all_of_many_parents(bench: Bench, count: int) -> None:
    """More than are read at once."""

    @bench.app.task("total")
    def total(context: Context) -> int:
        return sum(parent.result for parent in context.parents.values())

    parents = bench.submit("note", count)
    child = bench.app.submit("total", after=parents)
    bench.slot.work()
    assert child.result(timeout=5) == sum(range(count))


def test_a_parent_that_is_no_longer_kept_has_a_state(bench: Bench) -> None:
    @bench.app.task("states")
    def states(context: Context) -> list[object]:
        return [[parent.state, parent.result] for parent in context.parents.values()]

    parent = bench.app.submit("note", {"value": 7})
    bench.slot.work()
    child = bench.app.submit("states", after=[parent])
    bench.sql("DELETE FROM jobs WHERE id = :id", id=parent.id)
    bench.slot.work()
    assert child.result(timeout=5) == [["SUCCESS", None]]

"""A flow's state follows from those of its jobs."""

import pytest

from steeple.domain.flows import flow_state
from steeple.domain.states import State


@pytest.mark.parametrize(
    ("counts", "held", "expected"),
    [
        ({State.PENDING: 3}, 0, State.PENDING),
        ({State.PENDING: 3, State.SUCCESS: 1}, 0, State.RUNNING),
        ({State.RUNNING: 1}, 0, State.RUNNING),
        ({State.PENDING: 1, State.FAILED: 1}, 0, State.RUNNING),
        ({State.SUCCESS: 4}, 0, State.SUCCESS),
        ({State.SUCCESS: 4, State.FAILED: 1, State.CANCELLED: 2}, 0, State.FAILED),
        ({State.SUCCESS: 4, State.CANCELLED: 2}, 0, State.CANCELLED),
        ({State.PENDING: 1, State.SUCCESS: 4, State.CANCELLED: 1}, 1, State.FAILED),
        ({State.PENDING: 2, State.SUCCESS: 4}, 1, State.RUNNING),
    ],
)
def test_the_state_of_a_flow(counts: dict[State, int], held: int, expected: State) -> None:
    assert flow_state(counts, held) is expected

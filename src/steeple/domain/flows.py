"""A flow: jobs that were submitted as one. Its state follows from theirs. Pure."""

from collections.abc import Mapping

from steeple.domain.states import ACTIVE, State


def flow_state(counts: Mapping[State, int], held: int) -> State:
    """The state of a flow with so many jobs in each state; ``held``: those of the pending that wait for a decision.

    As long as any job has its turn to come, the flow is ``RUNNING``, or ``PENDING`` if none has begun. Then it is
    ``FAILED`` if any job failed or is held, ``CANCELLED`` if any was cancelled, else ``SUCCESS``.
    """
    if sum(counts.get(state, 0) for state in ACTIVE) > held:
        has_begun = any(count for state, count in counts.items() if state is not State.PENDING)
        return State.RUNNING if has_begun else State.PENDING
    if held or counts.get(State.FAILED):
        return State.FAILED
    return State.CANCELLED if counts.get(State.CANCELLED) else State.SUCCESS

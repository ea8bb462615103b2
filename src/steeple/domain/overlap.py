"""What a fire comes to while an earlier job of its schedule is there. Pure."""

from dataclasses import dataclass

from steeple.domain.schedule import Outcome, Overlap


@dataclass(frozen=True)
class Decision:
    """``cancels``: the earlier jobs are to stop. ``replaces``: the fire that waits makes room for this one."""

    outcome: Outcome
    why: str | None = None
    cancels: bool = False
    replaces: bool = False


def decide(overlap: Overlap, *, is_active: bool, is_waiting: bool) -> Decision:
    """``is_active``: an earlier job is pending or running; ``is_waiting``: an earlier fire waits for its job."""
    if overlap is Overlap.ALLOW or not (is_active or is_waiting):
        return Decision(Outcome.FIRED)
    if overlap is Overlap.SKIP:
        return Decision(Outcome.SKIPPED, "an earlier job of this schedule had not ended")
    if overlap is Overlap.QUEUE:
        if is_waiting:
            return Decision(Outcome.SKIPPED, "an earlier fire was waiting already")
        return Decision(Outcome.QUEUED, "waits for the end of an earlier job")
    why = "waits for an earlier job to stop"
    return Decision(Outcome.QUEUED, why, cancels=is_active, replaces=is_waiting)

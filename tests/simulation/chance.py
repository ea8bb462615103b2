"""Runs the machine: how many examples of how many steps, by which seed."""

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test
from machine import Promise
from worlds import Worlds

_STEPS = 60
_ALL_CHECKS = tuple(HealthCheck)
"""They concern tests that are quick and draw little."""


def play(worlds: Worlds, examples: int, *, seed: int | None = None, is_shrinking: bool = True) -> None:
    """Let chance play so many games; the same each time unless a ``seed`` is given. Fails with the schedule of a game
    that broke the promise, made as short as may be if it ``is_shrinking``, which takes minutes."""
    game: Any = type("Promise", (Promise,), {"worlds": staticmethod(worlds)})
    if seed is not None:
        game = seeded(seed)(game)
    phases = [Phase.generate, Phase.shrink] if is_shrinking else [Phase.generate]
    chosen = settings(
        max_examples=examples,
        stateful_step_count=_STEPS,
        derandomize=seed is None,
        deadline=None,
        database=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=_ALL_CHECKS,
    )
    run_state_machine_as_test(game, settings=chosen)

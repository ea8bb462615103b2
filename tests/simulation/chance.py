"""Runs the machine: how many examples of how many steps, by which seed."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.errors import FlakyFailure, FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test
from machine import Broken, Promise
from seen import Seen
from worlds import Worlds

from steeple.embedded.postgres import EmbeddedPostgres

_STEPS = 60
_ALL_CHECKS = tuple(HealthCheck)
"""They concern tests that are quick and draw little."""


def must_hold(worlds: Worlds, examples: int, seen: Seen, *, seed: int | None = None, **how: Any) -> None:
    """Let chance play; a game that breaks the promise is told as a schedule, and nothing but that."""
    try:
        play(worlds, examples, seen, seed=seed, **how)
    except Broken as broken:
        again = "" if seed is None else f"To play it again: make soak SOAK_SEED={seed}\n\n"
        pytest.fail(f"{again}{broken}", pytrace=False)


def play(
    worlds: Worlds,
    examples: int,
    seen: Seen,
    *,
    seed: int | None = None,
    is_shrinking: bool = True,
    server: EmbeddedPostgres | None = None,
) -> None:
    """Let chance play at least so many games; the same each time unless a ``seed`` is given.

    Raises ``Broken`` with the schedule of a game that broke the promise, made as short as may be if it
    ``is_shrinking``, which takes minutes. A ``server`` may be killed in earnest, now and then.

    Where one transaction's end lets two others go on at once, PostgreSQL chooses who is first, and a game may not go
    the same way again. Hypothesis then gives up; the rest is played by the next seed.
    """
    parts = {"worlds": staticmethod(worlds), "seen": seen, "server": server}
    game: Any = type("Promise", (Promise,), parts)
    phases = [Phase.generate, Phase.shrink] if is_shrinking else [Phase.generate]
    until = seen.games + examples
    for turn in itertools.count(seed or 0):
        try:
            run_state_machine_as_test(seeded(turn)(game), settings=_settings(until - seen.games, phases))
        except (FlakyFailure, FlakyStrategyDefinition) as error:
            if seen.broken is not None:
                raise Broken(seen.broken) from None
            if isinstance(error, FlakyFailure):
                raise
            seen.abandoned += 1
        except Broken as broken:
            broken.__notes__ = []  # the choices of hypothesis; the schedule says more
            raise
        if seen.games >= until:
            return


def _settings(examples: int, phases: Sequence[Phase]) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=_ALL_CHECKS,
    )

"""Replays a history and says how it breaks the promise: the invariants 1 to 12, and what the table of states adds.

``assert_holds(history)`` is how a test ends; ``check(history)`` gives the violations, each with its rule, its job and
the lines that show it. Every rule is a pure function from a history to violations, in ``rules_of_one_job`` and
``rules_of_many_jobs``; what a rule needs to know and a history does not say, it does not check:

* 2 wants ``healed_at``; 3 wants every explicit retry among the replies; 9 the idempotency keys and requests of replies;
* 5 sees outcomes that name their fence, as those of ``fault_tasks`` do; 6, 11 and 12 go by effects;
* 8 goes by ``schedule_id`` and ``run_at`` of jobs, and 10 by the limits that the history states: until there are
  schedules and limits, they have nothing to say;
* a crash of the database (``server_crashes``) excuses no rule: a fence that was handed out stays so.
"""

from collections.abc import Mapping
from dataclasses import replace

import rules_of_many_jobs as many
import rules_of_one_job as one
from history import History
from violation import Rule, Violation

RULES: Mapping[str, Rule] = {
    "invariant 1": one.accepted_jobs_exist,
    "invariant 2": one.jobs_end_in_time,
    "invariant 3": one.ends_are_final,
    "invariant 4": one.fences_grow,
    "invariant 5": one.outcomes_belong_to_the_last_claim,
    "invariant 6": many.runs_do_not_overlap,
    "invariant 7": one.attempts_are_counted,
    "invariant 8": many.fires_are_single,
    "invariant 9": many.keys_are_single,
    "invariant 10": many.limits_hold,
    "invariant 11": many.claims_do_not_wait,
    "invariant 12": many.nothing_runs_unclaimed,
    "parents": many.parents_end_first,
    "table of states": one.transitions_are_allowed,
    "times": one.claims_keep_to_times,
    "cancellation": one.cancels_are_heeded,
}

_MOST_SHOWN = 20


def check(history: History) -> list[Violation]:
    """Every way in which the history breaks a rule; empty if it keeps them all."""
    return [replace(found, rule=name) for name, rule in RULES.items() for found in rule(history)]


def assert_holds(history: History) -> None:
    """Fail with what is broken, if anything is."""
    found = check(history)
    shown = "\n".join(map(str, found[:_MOST_SHOWN]))
    assert not found, f"{len(found)} violations\n{shown}"

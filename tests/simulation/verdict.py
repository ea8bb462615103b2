"""What came of a game: how the promise was broken, told so that somebody who has never seen it can follow."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from checker import check
from healing import HEALS
from history import History, Transition, shown
from violation import Violation
from world import World

_MOST_SHOWN = 5

_JOB = re.compile(r"(?:job )?00000000-0000-0000-0000-0000000000([0-9a-f]{2})\b")
_DATE = re.compile(r"2026-11-24 (?=12:)")

_HOW_TO_READ = """\
What was done, in order; behind "=" what it made of a job, in a transaction that was committed then or later. An actor
stands still at each line with "before" or "after" until it is told to go on; "before" is left out where it did nothing
since its last line. The plan of a job says what its attempts do, a letter for each: succeed (S), fail (F), ask for
another try (I), reject the job (R), kill the process (C)."""

_ROUTINE = tuple(
    f"begins: {each}" for each in ("beats", "watches", "audits", "bury", "rescue", "expire", "roll_up", "wake_due")
)
"""What is done round after round when all heals."""


def history_of(world: World) -> History:
    """All that was recorded."""
    shared, history = world.shared, world.recorder.history(world.journal)
    rests = () if world.past.has_landed else tuple(shared.rests)  # what a slot lost sight of it cannot know
    effects, rounds = tuple(shared.effects), tuple(shared.rounds)
    return replace(history, effects=effects, rounds=rounds, rests=rests, is_timed=False, dropped=None)


def verdict(world: World, history: History | None = None) -> list[Violation]:
    """How the promise was broken."""
    history = history or history_of(world)
    failed = [Violation(None, f"{who.name}: {error!r}", rule="failure") for who, error in world.conductor.failures]
    early = [
        Violation(job_id, "was woken for before it was committed", history.by_job[job_id][:1], "wake-ups")
        for about in world.woken_early
        for job_id in about
        if job_id in history.by_job
    ]
    return failed + early + check(history)


def told(world: World, history: History, found: Sequence[Violation]) -> str:
    """What is broken, and the schedule that led there."""
    shown = "\n".join(map(str, found[:_MOST_SHOWN]))
    more = f"\nand {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    schedule = "\n".join(_schedule(world, history))
    return plainly(f"the promise is broken\n\n{shown}{more}\n\n{_HOW_TO_READ}\n\n{schedule}\n")


def _schedule(world: World, history: History) -> Iterator[str]:
    """What was done, with what it made of the jobs."""
    has_healed = False
    changes = deque(sorted(history.transitions, key=lambda each: each.at))
    for line in world.conductor.schedule:
        while changes and changes[0].at <= line.at:
            yield f"{'':29}    {_change(changes.popleft())}"
        has_healed |= line.what == HEALS
        if not (has_healed and line.what.startswith(_ROUTINE)):
            yield str(line)


def _change(line: Transition) -> str:
    before, after = (None if row is None else shown(row) for row in (line.before, line.after))
    if before is None:
        return f"= job {line.job_id}: {after}"
    return f"= job {line.job_id}: {before} becomes {after or 'nothing'}"


def plainly(text: str) -> str:
    """With the numbers of jobs for their ids, which are made of them."""
    return _DATE.sub("", _JOB.sub(lambda found: f"job {int(found[1], 16)}", text))

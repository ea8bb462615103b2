"""Why an operation left jobs as they were: a short list, reason by reason, however many jobs there are."""

from collections.abc import Iterable, Sequence
from typing import Any

from steeple.domain.operation import Skip, Skipped

MOST_EXAMPLES = 5
"""Of each reason."""

Skips = Sequence[dict[str, Any]]


def add_skips(skips: Skips, more: Iterable[Skipped]) -> list[dict[str, Any]]:
    """The list with more jobs in it."""
    found = _by_reason(skips)
    for each in more:
        entry = _entry(found, each.why)
        entry["jobs"] += 1
        if len(entry["examples"]) < MOST_EXAMPLES:
            entry["examples"].append(_example(each))
    return list(found.values())


def add_missing(skips: Skips, why: Skip, jobs: int) -> list[dict[str, Any]]:
    """The list with jobs in it of which no more is known than how many they are."""
    found = _by_reason(skips)
    if jobs:
        _entry(found, why)["jobs"] += jobs
    return list(found.values())


def _by_reason(skips: Skips) -> dict[str, dict[str, Any]]:
    return {each["reason"]: {**each, "examples": list(each["examples"])} for each in skips}


def _entry(found: dict[str, dict[str, Any]], why: Skip) -> dict[str, Any]:
    return found.setdefault(why.value, {"reason": why.value, "jobs": 0, "examples": []})


def _example(skipped: Skipped) -> dict[str, str]:
    held_by = {} if skipped.held_by is None else {"held_by": str(skipped.held_by)}
    return {"id": str(skipped.id), **held_by}

"""Hands jobs to one contestant, in that contestant's own environment: ``python -m bench.steward NAME``.

It reads requests from stdin and answers each on stdout, one JSON object a line. Whatever a library prints goes to
stderr.
"""

import importlib
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from bench.bodies import sheet

_PATIENCE = 60.0


class Steward:
    """Its public methods are the requests."""

    def __init__(self, name: str) -> None:
        self._contestant: Any = importlib.import_module(f"bench.contestants.{name}")

    def describe(self) -> dict[str, Any]:
        contestant = self._contestant
        return {
            "record": contestant.RECORD,
            "settings": contestant.SETTINGS,
            "rough_rate": contestant.ROUGH_RATE,
            "versions": {name: version(name) for name in contestant.DISTRIBUTIONS},
            "python": platform.python_version(),
        }

    def prepare(self) -> None:
        self._contestant.prepare()

    def workers(self, workload: str) -> list[list[str]]:
        found: list[list[str]] = self._contestant.workers(workload)
        return found

    def enqueue(self, task: str, first: int, count: int, seconds: list[float]) -> float:
        """``seconds`` are repeated over the jobs; empty for tasks that take none. How long it took, in seconds."""
        numbers = range(first, first + count)
        began = time.monotonic()
        self._contestant.enqueue(task, [_arguments(number, seconds) for number in numbers])
        return time.monotonic() - began

    def finished(self) -> int | None:
        found: int | None = self._contestant.finished()
        return found

    def enqueue_singly(self, first: int, count: int, pauses: tuple[float, float]) -> list[float]:
        """Hand over no-op jobs one at a time, each a random pause after the last one began; when each was."""
        chance = random.Random(first)
        moments = []
        for number in range(first, first + count):
            time.sleep(chance.uniform(*pauses))
            moments.append(time.monotonic())
            self._contestant.enqueue("noop", [{"number": number}])
            if not sheet().wait_for_begin(number, _PATIENCE):
                raise TimeoutError(f"job {number} has not begun after {_PATIENCE:g} s")
        return moments


def _arguments(number: int, seconds: list[float]) -> dict[str, float]:
    return {"number": number} | ({"seconds": seconds[number % len(seconds)]} if seconds else {})


def main(name: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    steward = Steward(name)
    for line in sys.stdin:
        request = json.loads(line)
        action: Callable[..., Any] = getattr(steward, request["action"])
        print(json.dumps({"answer": action(**request["with"])}), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

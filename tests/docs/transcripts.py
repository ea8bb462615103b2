"""Plays what a page has its reader type, and compares what is seen with what the page shows.

In the page ``…`` stands for anything. Ids, times, keys, names of workers and the progress of a running job differ from
run to run; an id that the page repeats has to be the same each time.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
_VARIABLE = re.compile(
    rf"""(?P<anything>…)
    | (?P<id>{_ID})
    | (?P<time>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)
    | (?P<key>stpl_[\w-]+)
    | (?P<worker>\bvm:\d+)
    | (?P<progress>"progress":\{{"fraction":\ 0\.\d+,\ "text":\ "[^"]*"\}})""",
    re.VERBOSE,
)
_PATTERNS = {
    "anything": r".*?",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "key": r"stpl_[\w-]+",
    "worker": r"[\w.-]+:\d+",
    "progress": r'"progress":\{"fraction": 0\.\d+, "text": "[^"]*"\}',
}
_READS = re.compile(r"^(curl (?!.*-(?:d|X) )|steeple jobs (?:show|list) )", re.DOTALL)
_PATIENCE_SECONDS = 20.0
_PAUSE_SECONDS = 0.05


@dataclass
class Transcript:
    """``run`` types a command and gives back what is seen. ``ids`` has the real id for each that the page shows."""

    run: Callable[[str], str]
    ids: dict[str, str] = field(default_factory=dict)

    def play(self, command: str, shown: str) -> None:
        """Type a command and compare. One that only reads is typed again until the job is as far as shown."""
        real = re.sub(_ID, lambda found: self.ids.get(found[0], found[0]), command)
        until = time.monotonic() + _PATIENCE_SECONDS
        shown = _tidy(shown)
        while not self._is_as(shown, seen := _tidy(self.run(real))):
            assert _READS.search(command), f"$ {real}\n{seen}\n--- but shown is\n{shown}"
            assert time.monotonic() < until, f"$ {real}\n{seen}\n--- for a long time, but shown is\n{shown}"
            time.sleep(_PAUSE_SECONDS)

    def _is_as(self, shown: str, seen: str) -> bool:
        groups: dict[str, str] = {}
        found = re.fullmatch(self._pattern(shown, groups), seen, re.DOTALL)
        if found is None:
            return False
        self.ids.update({each: found[group] for each, group in groups.items()})
        return True

    def _pattern(self, shown: str, groups: dict[str, str]) -> str:
        """The shown text as a regular expression; ``groups`` is told the group of each id that is new."""
        parts, end = [], 0
        for variable in _VARIABLE.finditer(shown):
            parts += [re.escape(shown[end : variable.start()]), self._part(variable, groups)]
            end = variable.end()
        return "".join([*parts, re.escape(shown[end:])])

    def _part(self, variable: re.Match[str], groups: dict[str, str]) -> str:
        if variable.lastgroup != "id":
            return _PATTERNS[str(variable.lastgroup)]
        shown = variable[0]
        if shown in self.ids:
            return re.escape(self.ids[shown])
        if shown in groups:
            return f"(?P={groups[shown]})"
        groups[shown] = f"id_{len(groups)}"
        return f"(?P<{groups[shown]}>{_ID})"


def _tidy(text: str) -> str:
    """Without what no reader sees."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())

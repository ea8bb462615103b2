"""Gathers what running tasks report, progress and log lines, until someone writes it to the database."""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from steeple.context import Context, Parent
from steeple.store.children import ParentView
from steeple.store.encoding import abridged, encode_fields, storable, storable_json
from steeple.store.reports import NewLine, Progress

_MAX_LINE_CHARS = 10_000
_MAX_LINES = 10_000
"""Lines that may wait; a task that writes more, faster than the database takes them, is held up."""


ReadParents = Callable[[UUID], Sequence[ParentView]]
"""What became of a job's parents."""


@dataclass(frozen=True)
class _Line:
    job_id: UUID
    attempt: int
    written: float
    message: str
    fields: str


class SlotReporter:
    """Any thread of the slot may report. Nothing here takes a lock: the soft signal may interrupt it anywhere."""

    def __init__(self, read_parents: ReadParents = lambda _: ()) -> None:
        self._read_parents = read_parents
        self._progress: dict[tuple[UUID, int], str] = {}
        self._lines: deque[_Line] = deque()

    def parents(self, context: Context) -> Mapping[UUID, Parent]:
        """What the database holds of them now."""
        return {each.id: _parent(each) for each in self._read_parents(context.job_id)}

    def progress(self, context: Context, progress: str) -> None:
        self._progress[context.job_id, context.fence] = storable_json(progress)

    def log(self, context: Context, message: str, fields: dict[str, Any]) -> None:
        encoded = encode_fields(fields)
        if len(encoded) > _MAX_LINE_CHARS:
            encoded = json.dumps({"fields": abridged(encoded, _MAX_LINE_CHARS // 2)})
        message = storable(abridged(message, _MAX_LINE_CHARS))
        while len(self._lines) >= _MAX_LINES:
            time.sleep(0.01)
        self._lines.append(_Line(context.job_id, context.attempt, time.monotonic(), message, encoded))

    @property
    def has_reports(self) -> bool:
        return bool(self._progress or self._lines)

    def pending(self) -> "Pending":
        """All that waits to be written; stays here until it is ``settled``."""
        return Pending(dict(self._progress), tuple(self._lines))

    def settle(self, pending: "Pending") -> None:
        """Forget what has been written; progress that was reported meanwhile stays."""
        for key, progress in pending.progress.items():
            if self._progress.get(key) == progress:
                del self._progress[key]
        for _ in pending.lines:
            self._lines.popleft()


@dataclass(frozen=True)
class Pending:
    """Reports on their way to the database: the last progress of each claim, and log lines in their order."""

    progress: dict[tuple[UUID, int], str]
    lines: tuple[_Line, ...]

    def as_progress(self) -> list[Progress]:
        return [Progress(job_id, fence, progress) for (job_id, fence), progress in self.progress.items()]

    def as_lines(self) -> list[NewLine]:
        now = time.monotonic()
        return [
            NewLine(line.job_id, line.attempt, max(0.0, now - line.written), line.message, line.fields)
            for line in self.lines
        ]


def _parent(view: ParentView) -> Parent:
    result = None if view.result is None else json.loads(view.result)
    return Parent(view.state, result, None if view.error is None else json.loads(view.error))

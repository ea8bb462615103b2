"""What a checker says when a history breaks the promise: which rule, which job, by which lines."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from history import History


@dataclass(frozen=True)
class Violation:
    """``lines`` are those of the history that show it. ``rule`` is filled in by the checker."""

    job_id: UUID | None
    what: str
    lines: tuple[object, ...] = ()
    rule: str = ""

    def __str__(self) -> str:
        whose = "" if self.job_id is None else f" job {self.job_id}:"
        return "\n    ".join([f"{self.rule}:{whose} {self.what}", *map(str, self.lines)])


Rule = Callable[[History], Iterator[Violation]]

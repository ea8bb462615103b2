"""What a running task knows of its job, and how it speaks of its progress."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, Self
from uuid import UUID

from steeple.domain.states import State

_TESTING_ID = UUID("00000000-0000-7000-8000-000000000000")


@dataclass(frozen=True)
class Parent:
    """What became of a job for which this one waited. ``result`` and ``error`` are as JSON has them.

    A parent that is no longer kept has neither.
    """

    state: State
    result: Any = None
    error: Mapping[str, Any] | None = None


class Reporter(Protocol):
    """What stands between a context and the database: reports go there a few times a second."""

    def parents(self, context: "Context") -> Mapping[UUID, Parent]: ...

    def progress(self, context: "Context", progress: str) -> None:
        """``progress`` is JSON text."""

    def log(self, context: "Context", message: str, fields: dict[str, Any]) -> None: ...


@dataclass
class Reports:
    """A reporter for tests: keeps what it is told."""

    said: list[tuple[float, str | None]] = field(default_factory=list)
    """Each ``progress``: the fraction and the text."""
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Each ``log``: the message and its fields."""
    given: Mapping[UUID, Parent] = field(default_factory=dict)
    """What ``parents`` gives."""

    def parents(self, context: "Context") -> Mapping[UUID, Parent]:
        return self.given

    def progress(self, context: "Context", progress: str) -> None:
        found = json.loads(progress)
        self.said.append((found["fraction"], found["text"]))

    def log(self, context: "Context", message: str, fields: dict[str, Any]) -> None:
        self.lines.append((message, fields))


@dataclass(frozen=True)
class Context:
    """A running attempt, seen by its task: the parameter annotated ``Context`` receives it.

    ``attempt`` counts from 1. ``fence`` grows with every claim of the job: hand it to whatever the task writes to, and
    have that refuse a smaller one (M. Kleppmann, *How to do distributed locking*, 2016). ``deadline`` is when the
    attempt is stopped, aware, in UTC.
    """

    job_id: UUID
    attempt: int
    fence: int
    deadline: datetime
    reporter: Reporter = field(repr=False, compare=False)
    is_cancelled: Callable[[], bool] = field(repr=False, compare=False, default=lambda: False)

    @property
    def cancelled(self) -> bool:
        """True once the job was cancelled, its time is up, or the grace of its worker's shutdown has ended."""
        return self.is_cancelled()

    @property
    def parents(self) -> Mapping[UUID, Parent]:
        """What became of the jobs for which this one waited, by their ids. Asks the database each time."""
        return self.reporter.parents(self)

    def progress(self, fraction: float, text: str | None = None) -> None:
        """Say how far the work is: ``fraction`` from 0 to 1. Raises ``ValueError`` for any other number."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"progress is a number from 0 to 1, not {fraction!r}")
        document = {"fraction": float(fraction), "text": None if text is None else str(text)[:1000]}
        self.reporter.progress(self, json.dumps(document))

    def log(self, message: str, **fields: Any) -> None:
        """Add a line to the job's log; what is not JSON in ``fields`` is shown by its ``repr``."""
        self.reporter.log(self, str(message), fields)

    @classmethod
    def testing(
        cls, *, job_id: UUID = _TESTING_ID, attempt: int = 1, fence: int = 1, reports: Reports | None = None
    ) -> Self:
        """A context for calling a task as a plain function; hand in ``reports`` to look at what the task said."""
        return cls(job_id, attempt, fence, datetime.max.replace(tzinfo=UTC), reports or Reports())

"""The results of a run: what was measured, round by round, and under which conditions; kept as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import ratio_to
from bench.row import Figure, Row

Values = dict[str, list[float | None]]
"""For each figure what each round gave; None for a round that failed."""


@dataclass
class RowResults:
    """``failures``: for each contestant the last reason why a round gave nothing."""

    values: dict[str, Values] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def note(self, row: Row, contestant: str, found: Mapping[str, float]) -> None:
        """A round's figures; none of them where it failed."""
        kept = self.values.setdefault(contestant, {})
        for figure in row.figures:
            kept.setdefault(figure.name, []).append(found.get(figure.name))

    def measured(self, contestant: str, figure: str) -> list[float]:
        """Without the rounds that failed."""
        return [value for value in self.values.get(contestant, {}).get(figure, []) if value is not None]

    def ratio(self, first: str, contestant: str, figure: Figure) -> float | None:
        """How many times better ``first`` is: over the rounds in which both were measured."""
        rounds = [self.values.get(name, {}).get(figure.name, []) for name in (first, contestant)]
        pairs = [(one, other) for one, other in zip(*rounds, strict=False) if one is not None and other is not None]
        return ratio_to([one for one, _ in pairs], [other for _, other in pairs], figure.better)


@dataclass
class Results:
    """``contestants``: what each said of itself. ``options``: those of the run."""

    machine: dict[str, Any]
    contestants: dict[str, dict[str, Any]]
    options: dict[str, Any]
    rows: dict[str, RowResults] = field(default_factory=dict)

    def row(self, row: Row) -> RowResults:
        return self.rows.setdefault(row.name, RowResults())

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Results | None":
        """None if there are none yet."""
        if not path.exists():
            return None
        found = json.loads(path.read_text())
        rows = {name: RowResults(**row) for name, row in found.pop("rows").items()}
        return cls(**found, rows=rows)

"""A plot for each figure of each row, from the results."""

from collections.abc import Sequence
from pathlib import Path

from bench import reference
from bench.figures import Spread
from bench.plots import Bar, bars
from bench.results import Results
from bench.roster import STEEPLE
from bench.row import Figure, Row, title_of
from bench.tables import in_order, number


def draw(rows: Sequence[Row], results: Results, folder: Path) -> list[tuple[str, str]]:
    """Writes the files; the name of each, and what it shows."""
    drawn = []
    for row in rows:
        for figure in row.figures:
            found = [_bar(row, figure, name, results) for name in in_order(row, figure, results.row(row))]
            name, title = f"{row.name}-{figure.name}.svg", f"{row.title}: {figure.title}"
            if found:
                plot = bars(title, figure.unit, found, is_log=figure.is_log, better=figure.better)
                (folder / name).write_text(plot)
                drawn.append((name, title))
    return drawn


def _bar(row: Row, figure: Figure, name: str, results: Results) -> Bar:
    spread = Spread.of(results.row(row).measured(name, figure.name))
    kind = "limit" if name == reference.NAME else "ours" if name.startswith((row.first, STEEPLE)) else "theirs"
    return Bar(
        label=title_of(row, name, results.contestants),
        value=spread.median,
        lowest=spread.lowest,
        highest=spread.highest,
        shown=number(spread.median, figure.unit),
        kind=kind,
    )

"""``python -m bench``: measures, prints as it goes, and writes the results. ``--help`` names the options."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from bench import reference
from bench.environments import ROOT
from bench.figures import Spread
from bench.plots import Bar, bars
from bench.results import Results
from bench.row import Row, title_of
from bench.rows import ROWS
from bench.run import measure_all
from bench.tables import against, in_order, line, number, page

_FOLDER = ROOT / "bench/results"


def main() -> None:
    options = _options()
    rows = [row for row in ROWS if (row.name in options.rows if options.rows else row.quick or not options.quick)]
    chosen = {row.name: _contestants(row, options) for row in rows}
    began = monotonic()
    results = measure_all(rows, chosen, options.rounds, options.seconds, say, _tell)
    say(f"\nmeasured in {monotonic() - began:.0f} s")
    if options.quick:
        _compare(rows, results)
        results.write(options.results / "quick.json")
    else:
        _keep(rows, results, options.results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rows and contestants, one round, short")
    parser.add_argument("--rounds", type=int, help="3, or 1 if quick")
    parser.add_argument("--seconds", type=float, help="how long one measurement lasts, roughly: 6, or 3 if quick")
    parser.add_argument("--rows", type=_names, default=(), help=", ".join(row.name for row in ROWS))
    parser.add_argument("--only", type=_names, default=(), help="these contestants")
    parser.add_argument("--results", type=Path, default=_FOLDER, help="the folder to write to")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (3.0 if options.quick else 6.0)
    return options


def _names(text: str) -> Sequence[str]:
    return text.split(",")


def _contestants(row: Row, options: argparse.Namespace) -> list[str]:
    names = row.quick if options.quick and row.quick else row.contestants
    return [name for name in names if not options.only or name in options.only]


def say(text: str) -> None:
    print(text, flush=True)


def _tell(row: Row, name: str, results: Results) -> None:
    say(line(row, name, results))


def _compare(rows: Sequence[Row], results: Results) -> None:
    """With the last results, full and quick: by the ratios to what limits both, so that machines compare."""
    for name in ("latest", "quick"):
        before = Results.read(_FOLDER / f"{name}.json")
        if before is None:
            say(f"\nno {name} results to compare with")
            continue
        say(f"\nagainst {name}.json, each in terms of its own run's {reference.TITLE}:")
        for row in rows:
            for figure in row.figures:
                for each in against(row, figure, reference.NAME, results, before):
                    say(each)


def _keep(rows: Sequence[Row], results: Results, folder: Path) -> None:
    """What was the latest becomes the previous."""
    latest = folder / "latest.json"
    if latest.exists():
        shutil.copyfile(latest, folder / "previous.json")
    results.write(latest)
    plots = _draw(rows, results, folder)
    (folder / "latest.md").write_text(page(rows, results, plots))
    say(f"written: {latest.relative_to(Path.cwd()) if latest.is_relative_to(Path.cwd()) else latest}")


def _draw(rows: Sequence[Row], results: Results, folder: Path) -> list[tuple[str, str]]:
    drawn = []
    for row in rows:
        kept = results.row(row)
        for figure in row.figures:
            found = []
            for name in in_order(row, kept):
                values = kept.measured(name, figure.name)
                if values:
                    spread = Spread.of(values)
                    kind = "limit" if name == reference.NAME else "ours" if name.startswith(row.first) else "theirs"
                    shown = number(spread.median, figure.unit)
                    label = title_of(row, name, results.contestants)
                    found.append(Bar(label, spread.median, spread.lowest, spread.highest, shown, kind))
            title = f"{row.title}: {figure.title}"
            name = f"{row.name}-{figure.name}.svg"
            (folder / name).write_text(bars(title, figure.unit, found, is_log=figure.is_log, better=figure.better))
            drawn.append((name, title))
    return drawn


if __name__ == "__main__":
    main()

"""``python -m bench``: measures, prints as it goes, and writes the results. ``--help`` names the options."""

import argparse
import shutil
import sys
from collections.abc import Sequence, Set
from pathlib import Path
from time import monotonic

from bench.drawing import draw
from bench.environments import ROOT
from bench.results import Results
from bench.row import Row, title_of
from bench.rows import ROWS
from bench.run import measure_all
from bench.tables import against, line, page
from steeple.errors import ConfigurationError

_FOLDER = ROOT / "bench/results"
_PART = "part"
"""The folder in it for runs that left something out: they do not take the place of a full one."""


def main() -> None:
    options = _options()
    rows = [row for row in ROWS if _is_chosen(row, options)]
    chosen = {row.name: _contestants(row, options) for row in rows}
    unfinished = options.results / "unfinished.json"

    def tell(row: Row, name: str, results: Results) -> None:
        say(line(row, name, results))
        results.write(unfinished)

    began = monotonic()
    try:
        results = measure_all(rows, chosen, options.rounds, options.seconds, say, tell)
    except ConfigurationError as error:
        sys.exit(str(error))
    unfinished.unlink(missing_ok=True)
    say(f"\nmeasured in {monotonic() - began:.0f} s")
    folder = options.results / _PART if options.rows or options.only else options.results
    if options.quick:
        _compare(rows, results)
        results.write(folder / "quick.json")
    else:
        _keep(rows, results, folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rows and contestants, one round, short")
    parser.add_argument("--rounds", type=int, help="3, or 1 if quick")
    parser.add_argument("--seconds", type=float, help="how long one measurement lasts, roughly: 6, or 3 if quick")
    parser.add_argument("--rows", type=_names, default=(), help=", ".join(row.name for row in ROWS))
    parser.add_argument("--only", type=_names, default=(), help="these contestants")
    parser.add_argument("--results", type=Path, default=_FOLDER, help="the folder to write to")
    options = parser.parse_args()
    _refuse_unknown(parser, options.rows, {row.name for row in ROWS})
    _refuse_unknown(parser, options.only, {name for row in ROWS for name in row.contestants})
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (3.0 if options.quick else 6.0)
    return options


def _refuse_unknown(parser: argparse.ArgumentParser, names: Sequence[str], known: Set[str]) -> None:
    if unknown := set(names) - known:
        parser.error(f"no {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")


def _names(text: str) -> Sequence[str]:
    return text.split(",")


def _is_chosen(row: Row, options: argparse.Namespace) -> bool:
    if options.rows:
        return row.name in options.rows
    return not row.on_request and (bool(row.quick) or not options.quick)


def _contestants(row: Row, options: argparse.Namespace) -> list[str]:
    names = row.quick if options.quick and row.quick else row.contestants
    return [name for name in names if not options.only or name in options.only]


def say(text: str) -> None:
    print(text, flush=True)


def _compare(rows: Sequence[Row], results: Results) -> None:
    """With the last results, full and quick: by the ratios to what was measured beside, so that machines compare."""
    for name in ("latest", "quick"):
        before = Results.read(_FOLDER / f"{name}.json")
        if before is None:
            say(f"\nno {name} results to compare with")
            continue
        say(f"\nagainst {name}.json:")
        for row in rows:
            terms = f", in terms of {title_of(row, row.reference, results.contestants)}" if row.reference else ""
            told = [each for figure in row.figures for each in against(row, figure, results, before)]
            if told:
                say(f"{row.title}{terms}")
            for each in told:
                say(each)


def _keep(rows: Sequence[Row], results: Results, folder: Path) -> None:
    """What was the latest becomes the previous."""
    latest = folder / "latest.json"
    if latest.exists():
        shutil.copyfile(latest, folder / "previous.json")
    folder.mkdir(parents=True, exist_ok=True)
    results.write(latest)
    plots = draw(rows, results, folder)
    (folder / "latest.md").write_text(page(rows, results, plots))
    say(f"written: {latest.relative_to(Path.cwd()) if latest.is_relative_to(Path.cwd()) else latest}")


if __name__ == "__main__":
    main()

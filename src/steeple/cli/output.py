"""How commands speak: data on stdout, messages on stderr. Tables for people, tab-separated lines for programs.

What jobs bring along (names, errors, log lines) is not trusted: no control character of it reaches a terminal.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer


def complain(message: str) -> None:
    """A line on stderr for each thing that went wrong."""
    for line in message.splitlines():
        typer.echo(f"error: {visible(line)}", err=True)


def note(message: str) -> None:
    """One line on stderr that is no error."""
    typer.echo(visible(message), err=True)


def write_line(text: str) -> None:
    """One line of data."""
    typer.echo(visible(text))


def write_json(document: object) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=not _speaks_unicode()))


def write_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table with headings on a terminal; elsewhere one line per row without headings, cells between tabs."""
    cells = [[_cell(value) for value in row] for row in rows]
    if is_terminal():
        _draw_table(columns, cells)
    else:
        for row in cells:
            typer.echo("\t".join(visible(cell) for cell in row))


def write_record(record: Mapping[str, object]) -> None:
    """One thing, a line per member; members without a value are left out."""
    rows = [(name, value) for name, value in record.items() if value is not None and value not in ([], ())]
    write_table(("", ""), rows)


def is_terminal() -> bool:
    return sys.stdout.isatty()


def visible(text: str, *, keep: str = "") -> str:
    """``text`` with its control characters written out (``\\x1b``), except those in ``keep``."""
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    # The first column is what the next command needs, such as an id: it stays in one piece.
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*(Text(visible(cell, keep="\n")) for cell in row))
    Console().print(table)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        case str():
            return value
        case Mapping():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple() | set() | frozenset():
            return ",".join(_cell(item) for item in value)
        case _:
            return str(value)


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"

"""SQL gets its values as parameters only: no statement is put together from text that could come from elsewhere."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sources import Source, package

_TAKES_SQL = {
    "text",
    "execute",
    "executemany",
    "exec_driver_sql",
    "scalar",
    "scalars",
    "stream",
    "DDL",
    "literal_column",
}
"""Functions and methods whose first argument is a statement, or a part of one."""

_COMPOSERS = {"SQL", "Identifier", "Literal", "Placeholder", "Composed"}
"""psycopg's own: what is put together with them is quoted."""

_STEPS_BACK = 5
"""How often a name may stand for another one."""

JUSTIFIED = {
    # Each is one text in several places of the same file, and nothing else goes in.
    ("store/finding.py", "_MATCHES"),
    ("store/finding.py", "_MERGE"),
}
"""By file: constants that may stand within statements, each a plain string of that file."""


@dataclass(frozen=True)
class Finding:
    place: str
    how: str


def findings(source: Source) -> Iterator[Finding]:
    """Statements of a file that are built."""
    values = _values(source.tree)
    for node in source.nodes(ast.Call):
        if isinstance(node, ast.Call) and _name(node.func) in _TAKES_SQL:
            given = [*node.args[:1], *(word.value for word in node.keywords if word.arg in ("text", "statement"))]
            for argument in given:
                for how in _ways_built(argument, source, values, _STEPS_BACK):
                    yield Finding(source.at(node), how)


def _ways_built(node: ast.expr, source: Source, values: dict[str, list[ast.expr]], steps: int) -> Iterator[str]:
    match node:
        case ast.JoinedStr(values=parts):
            holes = [part.value for part in parts if isinstance(part, ast.FormattedValue)]
            if not all(_is_justified(hole, source, values) for hole in holes):
                yield "an f-string"
        case ast.BinOp(op=ast.Add() | ast.Mod()):
            yield "+ or %"
        case ast.Call(func=ast.Attribute(attr="format" | "join" | "replace" | "format_map" | "substitute", value=of)):
            if not _is_composed(of):
                yield "a method that puts text together"
        case ast.IfExp(body=body, orelse=orelse):
            yield from _ways_built(body, source, values, steps)
            yield from _ways_built(orelse, source, values, steps)
        case ast.NamedExpr(value=value) | ast.Await(value=value):
            yield from _ways_built(value, source, values, steps)
        case ast.Name(id=name) if steps:
            for value in values.get(name, ()):
                yield from _ways_built(value, source, values, steps - 1)


def _is_justified(hole: ast.expr, source: Source, values: dict[str, list[ast.expr]]) -> bool:
    if not (isinstance(hole, ast.Name) and (source.name, hole.id) in JUSTIFIED):
        return False
    (value,) = values[hole.id]
    return isinstance(value, ast.Constant)


def _is_composed(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) in _COMPOSERS


def _values(tree: ast.Module) -> dict[str, list[ast.expr]]:
    """What each name of a file is ever given, in whatever function."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                names = [name]
            case ast.AugAssign(target=ast.Name(id=name), value=value):
                names, value = [name], ast.BinOp(ast.Name(name), ast.Add(), value)
            case _:
                continue
        for name in names:
            found.setdefault(name, []).append(value)
    return found


def _name(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


def test_no_statement_is_put_together() -> None:
    assert not [finding for source in package() for finding in findings(source)]


def test_what_is_justified_is_there() -> None:
    constants = {(source.name, name) for source in package() for name in _values(source.tree)}
    assert constants >= JUSTIFIED


@pytest.mark.parametrize(
    "line",
    [
        'connection.execute(text(f"SELECT {name}"))',
        'connection.execute("SELECT " + name)',
        'connection.execute("SELECT %s" % name)',
        'connection.execute(text("SELECT {}".format(name)))',
        'connection.execute(text(" ".join(parts)))',
        'query = f"SELECT {name}"\nconnection.execute(text(query))',
        'query = "SELECT 1"\nif name:\n    query += name\nconnection.execute(text(query))',
        'first = f"SELECT {name}"\nsecond = first\ncursor.execute(second)',
        'connection.execute(text("SELECT 1" if name else f"SELECT {name}"))',
        'text(text=f"SELECT {name}")',
        'table.where(sqlalchemy.literal_column(f"{name}"))',
    ],
)
def test_a_statement_that_is_put_together_is_found(tmp_path: Path, line: str) -> None:
    assert list(findings(_source(tmp_path, line)))


@pytest.mark.parametrize(
    "line",
    [
        'connection.execute(text("SELECT :name"), {"name": f"{name}"})',
        "connection.execute(_STATEMENT, values)",
        'connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))',
    ],
)
def test_a_statement_with_parameters_is_not(tmp_path: Path, line: str) -> None:
    assert not list(findings(_source(tmp_path, line)))


class _Elsewhere(Source):
    """A file that is no part of the project."""

    @property
    def name(self) -> str:
        return self.path.name


def _source(folder: Path, text: str) -> Source:
    path = folder / "statements.py"
    path.write_text(text)
    return _Elsewhere(path)

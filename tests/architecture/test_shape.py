"""The size and shape of the code: how long files and functions are, what they are called, what they may not do."""

import ast
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles

import pytest
from sources import ROOT, Function, everything, package, within

_LONGEST_FILE = 320
_LONGEST_FUNCTION = 50
_HIGHEST_MEDIAN = 10
_NAMELESS = {"base", "common", "helper", "helpers", "misc", "util", "utils"}
_BROAD = {"Exception", "BaseException"}
_TEXT_FILES = (
    "*.md",
    "*.toml",
    "*.yaml",
    "*.yml",
    "*.py",
    "Makefile",
    "Dockerfile",
    "*.lock",
    "*.html",
    "*.js",
    "*.css",
)
_MACHINE_PATH = re.compile(r"/(work|home|Users|root)/[a-z]")
_REGISTRY = re.compile(r"pyp[i]\.|python[h]osted|docker\.io|ghcr\.io|quay\.io|npmjs\.")

Report = Callable[[str, object], None]


def test_files_are_short(record_property: Report) -> None:
    lengths = {source.name: len(source.lines) for source in everything()}
    record_property("lines per file", _distribution([len(source.lines) for source in package()]))
    assert not {name: length for name, length in lengths.items() if length > _LONGEST_FILE}


def test_functions_are_short(record_property: Report) -> None:
    measured = [source for source in everything() if not source.name.startswith("store/migrations/versions")]
    lengths = {source.at(node): _length(node) for source in measured for node in source.functions()}
    ours = [_length(node) for source in measured if source.is_packaged for node in source.functions()]
    record_property("lines per function", _distribution(ours))
    assert not {place: length for place, length in lengths.items() if length > _LONGEST_FUNCTION}
    assert median(ours) <= _HIGHEST_MEDIAN


def test_every_module_says_what_it_is_for() -> None:
    assert not [source.name for source in everything() if source.text and not ast.get_docstring(source.tree)]


def test_every_file_has_a_name_of_its_own() -> None:
    assert not [source.name for source in everything() if source.path.stem in _NAMELESS]


def test_nothing_is_swallowed() -> None:
    handlers = [
        source.at(node)
        for source in everything()
        for node in source.nodes(ast.ExceptHandler)
        if isinstance(node, ast.ExceptHandler) and all(map(_does_nothing, node.body))
    ]
    assert not handlers


def test_what_is_suppressed_is_narrow_and_says_why() -> None:
    calls = [
        (source, node)
        for source in package()
        for node in source.nodes(ast.Call)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "suppress"
    ]
    broad = [source.at(node) for source, node in calls if {*map(ast.unparse, node.args)} & _BROAD]
    unexplained = [source.at(node) for source, node in calls if "  # " not in source.lines[node.lineno - 1]]
    assert not broad + unexplained


def test_every_statement_has_a_sentence_above_it() -> None:
    bare = [
        source.at(node)
        for source in within("store")
        for node in source.tree.body
        if isinstance(node, ast.Assign) and _is_text(node.value) and not source.lines[node.lineno - 2].startswith("#")
    ]
    assert not bare


@pytest.mark.parametrize("forbidden", [_MACHINE_PATH, _REGISTRY], ids=["paths of one machine", "hosts of registries"])
def test_the_repository_is_free_of(forbidden: re.Pattern[str]) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in _text_files()
        if path.name != "Dockerfile" or forbidden is _REGISTRY  # its paths are those of the image
        for match in forbidden.finditer(path.read_text())
    }
    assert not found


def _text_files() -> set[Path]:
    found = {path for pattern in _TEXT_FILES for path in ROOT.rglob(pattern)}
    return {path for path in found if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)}


def _length(node: Function) -> int:
    """Without the functions inside, which count by themselves."""
    within = [each for each in ast.walk(node) if isinstance(each, Function) and each is not node]
    lines = {line for each in within for line in range(each.lineno, (each.end_lineno or 0) + 1)}
    return len(set(range(node.lineno, (node.end_lineno or 0) + 1)) - lines)


def _distribution(lengths: Sequence[int]) -> str:
    ninetieth = quantiles(lengths, n=10)[-1]
    return f"{len(lengths)} of them, median {median(lengths):g}, 90th percentile {ninetieth:g}, longest {max(lengths)}"


def _does_nothing(statement: ast.stmt) -> bool:
    is_ellipsis = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or is_ellipsis


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "text"

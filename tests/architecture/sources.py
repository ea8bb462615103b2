"""The project's own source files, read once: their text, their syntax trees, and where in them something stands."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/steeple"
_FOLDERS = ("src", "tests", "examples", "bench", "scripts", "deploy")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """A Python file. ``name`` is its path in the repository, or in the package for a file of the package."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(PACKAGE if self.is_packaged else ROOT).as_posix()

    @property
    def is_packaged(self) -> bool:
        return self.path.is_relative_to(PACKAGE)

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    def at(self, node: ast.AST) -> str:
        """For messages: ``file:line``."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}"

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        return (node for node in ast.walk(self.tree) if isinstance(node, kinds))

    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    def strings(self) -> list[ast.Constant]:
        """Every string but the docstrings."""
        bodies = [node.body for node in self.nodes(ast.Module, ast.ClassDef, *Function.__args__)]  # type: ignore[attr-defined]
        told = {id(each.value) for body in bodies for each in body if isinstance(each, ast.Expr)}
        constants = (node for node in ast.walk(self.tree) if isinstance(node, ast.Constant))
        return [node for node in constants if isinstance(node.value, str) and id(node) not in told]


@cache
def package() -> tuple[Source, ...]:
    """The files of ``steeple``."""
    return tuple(Source(path) for path in sorted(PACKAGE.rglob("*.py")))


@cache
def everything() -> tuple[Source, ...]:
    """Every Python file of the repository."""
    return tuple(Source(path) for folder in _FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))


def within(*folders: str) -> list[Source]:
    """The package's files in these folders or of these names."""
    return [source for source in package() if source.name in folders or source.name.split("/")[0] in folders]


def outside(*folders: str) -> list[Source]:
    inside = within(*folders)
    return [source for source in package() if source not in inside]

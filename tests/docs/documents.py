"""The pages of the documentation, taken apart: fenced blocks with their marks, headings, links, words in code font.

A block's first line may mark it after the language: ``run`` (the tests run it), ``output`` (of the block before it),
``file=NAME`` (a file that the page has its reader write).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """``place`` is ``PAGE:LINE`` of its first line."""

    place: str
    language: str
    marks: tuple[str, ...]
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that the reader is told to write it into."""
        return next((mark.removeprefix("file=") for mark in self.marks if mark.startswith("file=")), None)

    @property
    def is_run(self) -> bool:
        return "run" in self.marks

    @property
    def commands(self) -> list[str]:
        """What is typed into a shell."""
        if self.language == "console":
            return [typed for typed, _ in self.steps()]
        lines = self.text.replace("\\\n", "").splitlines() if self.language == "sh" else []
        return [line for line in lines if line and not line.startswith("#")]

    def steps(self) -> list[tuple[str, str]]:
        """Of a ``console`` block: what is typed, and what is seen after it."""
        typed = list(_COMMAND.finditer(self.text))
        ends = [each.start() for each in typed[1:]] + [len(self.text)]
        return [(each[1], self.text[each.end() : end].strip("\n")) for each, end in zip(typed, ends, strict=True)]


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(self._blocks())

    @cached_property
    def anchors(self) -> frozenset[str]:
        """The names of its headings in links, as GitHub makes them."""
        headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(self.prose))
        return frozenset(heading.replace(" ", "-") for heading in headings)

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    @property
    def code(self) -> list[str]:
        """What stands in code font between the words."""
        return _CODE.findall(self.prose)

    def _blocks(self) -> Iterator[Block]:
        for found in _FENCE.finditer(self.text):
            language, *marks = found["info"].split() or [""]
            line = self.text.count("\n", 0, found.start()) + 1
            yield Block(f"{self.name}:{line}", language, tuple(marks), found["text"])


@cache
def pages() -> tuple[Page, ...]:
    """The front page and everything in ``docs/``."""
    return tuple(Page(path) for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))))


def page(name: str) -> Page:
    return Page(ROOT / name)


def pages_with(language: str) -> list[str]:
    """The names of pages of which the tests run blocks in this language."""
    return [each.name for each in pages() if any(block.is_run and block.language == language for block in each.blocks)]

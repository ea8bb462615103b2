"""What the pages name is there: commands and their options, settings, operations, files, targets of make."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from documents import ROOT, Page, pages

from steeple.api.app import create_app
from steeple.api.problem_kinds import Kind
from steeple.cli.root import app
from steeple.settings import Settings

_EVERY_PAGE = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
_STEEPLE = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:docker compose exec \S+ )?(?:\S*/)?steeple(?= |$)(.*)")
_PLACEHOLDERS = {"ID", "…", "MODULE:APP", "[MODULE:APP]", "COMMAND"}


@_EVERY_PAGE
def test_commands_and_their_options_exist(page: Page) -> None:
    for words in _commands(page):
        _check(typer.main.get_command(app), words, f"{page.name}: steeple {' '.join(words)}")


def _commands(page: Page) -> Iterator[list[str]]:
    """The words after ``steeple``, of what is typed in blocks and of what stands in code font."""
    typed = [command for block in page.blocks for command in block.commands]
    for line in [*typed, *(code for code in page.code if code.startswith("steeple"))]:
        for part in re.split(r"[;|&]+", line.replace("\\\n", " ")):
            if found := _STEEPLE.search(part.strip()):
                yield shlex.split(found[1])


def _check(command: Any, words: list[str], place: str) -> None:
    if hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in _PLACEHOLDERS:
            assert words[0] in command.commands, place
            _check(command.commands[words[0]], words[1:], place)
        return
    options = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
    completion = {"--install-completion", "--show-completion"}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= options | completion, place


@_EVERY_PAGE
def test_settings_exist(page: Page) -> None:
    known = {f"STEEPLE_{name.upper()}" for name in Settings.model_fields}
    known |= set(re.findall(r"\$\{(STEEPLE_\w+)", (ROOT / "compose.yaml").read_text()))
    named = {name.removesuffix("_FILE") for name in re.findall(r"\bSTEEPLE_[A-Z_]*[A-Z]\b", page.text)}
    assert named <= known


@_EVERY_PAGE
def test_operations_of_the_api_exist(page: Page) -> None:
    named = set(re.findall(r"`(?:(GET|POST|PATCH) )?(/[a-z][\w/{}.-]*|/)[`?]", page.prose))
    unknown = {(method, path) for method, path in named if not _is_operation(method or "GET", path)}
    assert not {(method, path) for method, path in unknown if not (method == "" and _is_no_operation(path))}


def _is_operation(method: str, path: str) -> bool:
    return method in _operations().get(path, frozenset())


def _is_no_operation(path: str) -> bool:
    """Names that begin with a slash, and are those of something else."""
    return path in {"/v1", "/args/month"} or Path(path).exists()


@cache
def _operations() -> dict[str, frozenset[str]]:
    api = create_app(None, Settings(database_url="postgresql://nobody@nowhere/nothing"))
    found: dict[str, frozenset[str]] = {}
    for route in api.routes:
        path = re.sub(r"\{\w+_id\}", "{id}", getattr(route, "path", ""))
        found[path] = found.get(path, frozenset()) | frozenset(getattr(route, "methods", None) or ())
    return found


@_EVERY_PAGE
def test_problems_exist(page: Page) -> None:
    assert set(re.findall(r"/problems/[\w-]+", page.text)) <= {kind.path for kind in Kind}


@_EVERY_PAGE
def test_files_exist(page: Page) -> None:
    paths = [code for code in page.code if re.match(r"(src|tests|docs|deploy|examples)/", code)]
    assert not [path for path in paths if not (ROOT / path).exists()]


@_EVERY_PAGE
def test_targets_of_make_exist(page: Page) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed = [command for block in page.blocks for command in block.commands] + page.code
    assert {found for line in typed for found in re.findall(r"^make ([a-z-]+)", line)} <= targets

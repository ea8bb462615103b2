"""What is told in documents is what the code says: the tree of errors, the table of settings."""

import inspect
import re
from pathlib import Path

import pytest
from pydantic import AliasChoices, SecretStr
from sources import ROOT

from steeple import errors
from steeple.settings import Settings

_SETTINGS_PAGE = ROOT / "docs/settings.md"
_BRANCH = re.compile(r"^(?P<indent>[ │]*)[├└]── (?P<name>\w+)(?:\((?P<base>\w+)\))?", re.MULTILINE)


def _drawn_tree() -> dict[str, str]:
    """Each drawn error and what it is drawn under."""
    found: dict[str, str] = {}
    last_at_depth: dict[int, str] = {}
    for branch in _BRANCH.finditer(errors.__doc__ or ""):
        depth = len(branch["indent"])
        last_at_depth[depth] = branch["name"]
        above = max((each for each in last_at_depth if each < depth), default=None)
        found[branch["name"]] = branch["base"] or (last_at_depth[above] if above is not None else "SteepleError")
    return found


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    raised = {kind for kind in classes if issubclass(kind, BaseException)} - {errors.SteepleError}
    assert _drawn_tree() == {kind.__name__: kind.__mro__[1].__name__ for kind in raised}


@pytest.fixture(scope="module")
def rows() -> dict[str, tuple[str, str]]:
    """The page's table: for each variable its default and its meaning."""
    table = re.findall(r"^\| `(STEEPLE_\w+)`([^|]*)\| ([^|]*) \| ([^|]+) \|$", _SETTINGS_PAGE.read_text(), re.MULTILINE)
    return {name: (default.strip("`"), other + meaning) for name, other, default, meaning in table}


def test_every_setting_is_documented_and_no_other(rows: dict[str, tuple[str, str]]) -> None:
    assert set(rows) == {f"STEEPLE_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_documented_default_is_the_real_one(rows: dict[str, tuple[str, str]], name: str) -> None:
    documented, real = rows[f"STEEPLE_{name.upper()}"][0], Settings.model_fields[name].default
    if documented == "none":
        assert real is None
    else:
        assert getattr(Settings.model_validate({name: documented}), name) == real
        assert not isinstance(real, SecretStr)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_other_names_of_a_setting_are_documented(rows: dict[str, tuple[str, str]], name: str) -> None:
    alias = Settings.model_fields[name].validation_alias
    others = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else []
    text = "".join(rows[f"STEEPLE_{name.upper()}"])
    assert all(f"`{other}`" in text for other in others if other not in (name, f"STEEPLE_{name.upper()}"))


def test_pages_link_to_files_that_exist() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md"), *ROOT.glob("examples/**/*.md")]
    dead = {
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        if not Path(page.parent, target).exists()
    }
    assert not dead

"""The rows and the contestants, as far as that shows without measuring."""

import ast
import re
import tomllib

import pytest
from bench.environments import ROOT
from bench.roster import EVERYBODY, Entrant
from bench.rows import ROWS

from bench import reference
from steeple.store.exchange_statement import EXCHANGE

_NAMES = {entrant.name for entrant in EVERYBODY}
_CONTESTANTS = ROOT / "bench/contestants"
_DEFINED = {"DISTRIBUTIONS", "RECORD", "SETTINGS", "ROUGH_RATE", "prepare", "enqueue", "finished", "workers"}


@pytest.mark.parametrize("entrant", EVERYBODY, ids=lambda entrant: entrant.name)
def test_a_contestant_defines_all_that_it_must(entrant: Entrant) -> None:
    module = ast.parse((_CONTESTANTS / f"{entrant.name}.py").read_text())
    functions = {each.name for each in module.body if isinstance(each, ast.FunctionDef)}
    values = {ast.unparse(target) for each in module.body if isinstance(each, ast.Assign) for target in each.targets}
    assert _DEFINED - functions - values == set()


def test_every_environment_is_a_group_of_the_project() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    wanted = {f"bench-{entrant.environment}" for entrant in EVERYBODY if entrant.environment}
    assert wanted == {name for name in groups if name.startswith("bench-")}


def test_rows_have_names_of_their_own_and_known_contestants() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        titled = set(row.titles or ())
        assert set(row.contestants) <= _NAMES | titled
        assert {row.first, *row.quick} <= set(row.contestants)


def test_the_reference_sends_the_statement_of_the_workers_whole() -> None:
    script = reference.exchange_script()
    assert set(re.findall(r"(?<!:):([a-z_]+)", script)) == {"finishes"}
    assert "FOR UPDATE SKIP LOCKED" in script
    parameters = set(re.findall(r"(?<!:):([a-z_]+)", re.sub(r"(?m)^#.*", "", EXCHANGE.text)))
    assert {f":{name}" for name in parameters} - {":finishes"} == set(reference._PARAMETERS)

"""The light install: what a program that only calls the HTTP API has to import, and what it is told of the rest."""

import json
import subprocess
import sys

import pytest

import steeple

_HEAVY = ("sqlalchemy", "celery", "kombu", "psycopg", "fastapi", "pydantic_settings", "jsonschema")

_LIGHT_NAMES = ("AsyncClient", "Cancelled", "Client", "Priority", "Reject", "Retry", "RetryIn", "State", "SteepleError")

_LIST_MODULES = "; import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def _run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def _imported_by(program: str) -> set[str]:
    ended = _run(program + _LIST_MODULES)
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stdout))


def test_importing_steeple_imports_nothing_else() -> None:
    assert not _imported_by("import steeple") & {*_HEAVY, "httpx2", "pydantic"}


@pytest.mark.parametrize("name", _LIGHT_NAMES)
def test_a_light_name_brings_no_library_of_the_server(name: str) -> None:
    imported = _imported_by(f"import steeple; steeple.{name}")
    assert not imported & set(_HEAVY)


def test_every_public_name_is_there() -> None:
    assert set(_LIGHT_NAMES) < set(steeple.__all__)
    for name in steeple.__all__:
        assert getattr(steeple, name).__name__ == name
        assert name in dir(steeple)


def test_an_unknown_name_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'steeple' has no attribute 'Nowhere'"):
        _ = steeple.Nowhere


def test_where_the_server_is_not_installed_it_says_what_to_install() -> None:
    ended = _run("import sys; sys.modules['sqlalchemy'] = None; import steeple; steeple.Steeple")

    assert ended.returncode == 1
    assert "steeple.Steeple needs more than the light install: pip install 'steeple[server]'" in ended.stderr

"""What may stand where in the package, beyond what import-linter can say. Its contracts are in pyproject.toml."""

import ast
import re
import sys
from collections.abc import Iterator

from sources import Source, outside, package, within

_SQL = re.compile(r"\b(SELECT\b.+\bFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|MERGE\s+INTO)\b", re.DOTALL)
_SETS_STATE = re.compile(r"\bUPDATE\s+jobs\b.*?\bSET\b(.*?,)?\s*state\s*=", re.DOTALL)
_INSERTS_JOBS = re.compile(r"\bINSERT\s+INTO\s+jobs\b")
_FIRST_STATUS, _LAST_STATUS = 100, 599


def test_the_domain_imports_no_third_party() -> None:
    known = {*sys.stdlib_module_names, "steeple"}
    foreign = {
        f"{source.name} imports {name}"
        for source in within("domain", "errors.py")
        for name in _imported(source)
        if name.split(".")[0] not in known
    }
    assert not foreign


def test_the_domain_reads_no_clock_and_rolls_no_dice() -> None:
    impure = {"asyncio", "io", "os", "pathlib", "random", "secrets", "socket", "subprocess", "threading", "time"}
    found = {f"{source.name} imports {name}" for source in within("domain") for name in _imported(source)}
    assert not {each for each in found if each.rsplit(" ", 1)[1].split(".")[0] in impure}
    calls = {
        source.at(node)
        for source in within("domain")
        for node in source.nodes(ast.Attribute)
        if isinstance(node, ast.Attribute) and node.attr in {"now", "today", "utcnow", "uuid1", "uuid4"}
    }
    assert not calls


def test_only_the_store_holds_sql() -> None:
    """But for the embedded server, which makes its own database before there is a schema."""
    found = {
        source.at(string)
        for source in outside("store", "embedded")
        for string in source.strings()
        if _SQL.search(str(string.value))
    }
    assert not found


def test_the_state_of_jobs_is_written_where_transitions_are() -> None:
    """Those of a whole flow apart; and a job that is cancelled with its parent is by a function in the database."""
    assert _files_with(_SETS_STATE) == {
        "store/bulk.py",
        "store/exchange_statement.py",
        "store/flows.py",
        "store/purges.py",
        "store/ruled_statements.py",
        "store/transitions.py",
        "store/migrations/versions/0007_dependencies.py",
    }


def test_jobs_come_into_being_in_one_place() -> None:
    assert _files_with(_INSERTS_JOBS) == {"store/inbox.py"}


def test_only_the_settings_read_the_environment() -> None:
    """But for the supervisor, which hands the environment on to its children."""
    names = {"environ", "environb", "getenv", "getenvb"}
    found = {
        source.name
        for source in package()
        for node in source.nodes(ast.Attribute, ast.ImportFrom)
        if _reads_environment(node, names)
    }
    assert found == {"settings.py", "embedded/supervisor.py"}


def test_http_statuses_are_the_matter_of_the_api_and_its_clients() -> None:
    """The greeter of ``steeple up`` is such a client."""
    found = {
        source.at(node)
        for source in outside("api", "client", "embedded/greeting.py")
        for node in ast.walk(source.tree)
        if _names_a_status(node)
    }
    assert not found


def _files_with(statement: re.Pattern[str]) -> set[str]:
    strings = ((source.name, str(string.value)) for source in package() for string in source.strings())
    return {name for name, string in strings if statement.search(string)}


def _imported(source: Source) -> Iterator[str]:
    for node in source.nodes(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def _reads_environment(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in names for alias in node.names)
    is_of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    return is_of_os and getattr(node, "attr", "") in names


def _names_a_status(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="status_code") | ast.Name(id="HTTPStatus") | ast.alias(name="HTTPStatus"):
            return True
        case ast.keyword(arg="status" | "status_code", value=value):
            return _is_status(value)
        case ast.Compare(left=ast.Name(id=name) | ast.Attribute(attr=name), comparators=values) if "status" in name:
            return any(_is_status(value) for value in values)
    return False


def _is_status(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant) and isinstance(node.value, int) and _FIRST_STATUS <= node.value <= _LAST_STATUS
    )

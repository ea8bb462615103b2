"""Tables in the pages that repeat what the code has as data: neither may have more than the other."""

import inspect
import re
import tomllib
from dataclasses import fields

from documents import ROOT, Page, page

from steeple import Context
from steeple.api import schemas
from steeple.cli.exits import ExitCode
from steeple.demo import weather
from steeple.domain.histogram import Histogram
from steeple.domain.job import Reason
from steeple.domain.states import TRANSITIONS, State
from steeple.domain.statistics import FinishedTotal, JobCount, MetricsSnapshot, QueueStatistics
from steeple.settings import Settings
from steeple.store.tables import Table
from steeple.submission import PythonOptions
from steeple.telemetry import events, metrics


def _section(of: Page, heading: str) -> str:
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", of.text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{of.name} has no heading {heading!r}"
    return found[1]


def _rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in re.findall(r"^\|(.*)\|$", text, re.MULTILINE) if not set(line) <= set("-| ")]
    return [[cell.strip() for cell in line.split("|")] for line in lines[1:]]


def _words(cells: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cells))


def test_the_weather_of_the_first_job() -> None:
    shown = re.findall(r"^steeple   \|  ([A-Z][a-z]+ .*)$", page("README.md").text, re.MULTILINE)
    days = weather.read_days()
    real = {
        month: weather.summarise(month, [day for day in days if day.month == number])
        for number, month in enumerate(weather.MONTHS, 1)
    }
    assert len(shown) > 1
    for line in shown:
        cells = line.split()
        assert cells == [str(value) for value in real[cells[0]].values()]


def test_the_ways_from_state_to_state() -> None:
    rows = _rows(_section(page("docs/architecture.md"), "States"))
    told = [(source.strip("`"), target.strip("`"), cause, fence) for source, target, cause, fence in rows]
    begin = ("–", "PENDING", "submit", "0")  # noqa: RUF001 - a dash, as it stands there
    steps = [step for step in TRANSITIONS if step.source is not None]
    real = [(step.source, step.target, step.cause, "+1" if step.raises_fence else "") for step in steps]
    assert told[0] == begin
    assert sorted(told[1:]) == sorted(real)


def test_the_drawing_of_the_states() -> None:
    drawn = re.findall(r"^    (\S+) --> (\w+): ", _section(page("docs/architecture.md"), "States"), re.MULTILINE)
    assert set(drawn) == {(step.source or "[*]", step.target) for step in TRANSITIONS}
    assert {state for each in drawn for state in each} == {*State, "[*]"}


def test_the_layers() -> None:
    told = _section(page("docs/architecture.md"), "Layers").split("```")[1].splitlines()[1:]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "layers")
    assert [re.split(r"\s{2,}", line)[0].split(" · ") for line in told if line] == [
        layer.split(" | ") for layer in layers
    ]


def test_the_tables_of_the_database() -> None:
    named = set().union(*(_words(row[0]) for row in _rows(_section(page("docs/architecture.md"), "Storage"))))
    assert named == set(Table.metadata.tables)


def test_the_times_that_are_promised() -> None:
    rows = [row for row in _rows(_section(page("docs/guarantees.md"), "Times")) if "STEEPLE_" in row[-1]]
    assert rows
    for _, told, name in rows:
        default = Settings.model_fields[name.strip("`").removeprefix("STEEPLE_").lower()].default
        assert told == f"{default:g} s", name


def test_the_exit_codes() -> None:
    rows = _rows(_section(page("docs/cli.md"), "Exit codes"))
    assert [(int(code), meaning) for code, meaning in rows] == [(each.value, each.meaning) for each in ExitCode]


def test_the_members_of_a_job() -> None:
    told = set().union(*(_words(row[0]) for row in _rows(_section(page("docs/http-api.md"), "A job"))))
    assert told == set(schemas.Job.model_fields)


def test_the_reasons_of_a_failure() -> None:
    (told,) = re.findall(r"`reason` is one of ([^.]*)\.", page("docs/http-api.md").text)
    assert _words(told) == set(Reason)


def test_the_options_of_a_job() -> None:
    told = set().union(*(_words(row[0]) for row in _rows(_section(page("docs/submitting.md"), "Options"))))
    assert told == set(PythonOptions.model_fields)


def test_the_members_of_the_context() -> None:
    told = set().union(*(_words(row[0]) for row in _rows(_section(page("docs/tasks.md"), "Context"))))
    public = {name for name in dir(Context) if not name.startswith("_")} | {each.name for each in fields(Context)}
    supplied = public - {"reporter", "is_cancelled", "testing"}
    assert {re.sub(r"\(.*", "", name).removeprefix("context.") for name in told} == supplied


def test_the_events_of_the_log() -> None:
    told = set().union(*(_words(row[0]) for row in _rows(_section(page("docs/operations.md"), "Logs"))))
    functions = inspect.getmembers(events, inspect.isfunction)
    real = {name for name, each in functions if each.__module__ == events.__name__ and not name.startswith("_")}
    assert told == real


def test_the_levels_of_the_events() -> None:
    for names, levels, _ in _rows(_section(page("docs/operations.md"), "Logs")):
        for name in _words(names):
            source = inspect.getsource(getattr(events, name))
            used = set(re.findall(r"_log\.(debug|info|warning|error)\b", source))
            assert used <= set(levels.split(", ")), name


def test_the_metrics() -> None:
    told = set().union(*(_words(row[0]) for row in _rows(_section(page("docs/operations.md"), "Metrics"))))
    rendered = metrics.render(_snapshot()).decode()
    assert {name for name in told if name.startswith("steeple_") and " " not in name} == set(
        re.findall(r"^# TYPE (\w+) ", rendered, re.MULTILINE)
    )


def _snapshot() -> MetricsSnapshot:
    """With something of everything, as what is empty is not shown."""
    total = FinishedTotal("default", "t", State.SUCCESS, 1, Histogram(), Histogram())
    queue = QueueStatistics("default", dict.fromkeys(State, 1), 1.0, 1.0)
    return MetricsSnapshot((queue,), (JobCount("default", "t", State.PENDING, 1),), (total,), 1, 1, {})
